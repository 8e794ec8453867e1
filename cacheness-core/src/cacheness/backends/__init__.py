# SPDX-License-Identifier: MIT
"""Where entries are recorded."""
