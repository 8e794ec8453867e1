# SPDX-License-Identifier: MIT
"""Where payloads too large to inline are kept."""
