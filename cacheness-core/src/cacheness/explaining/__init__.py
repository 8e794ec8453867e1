# SPDX-License-Identifier: MIT
"""Why a call hits or misses, and how results outlive a harmless edit."""
