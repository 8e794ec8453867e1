# SPDX-License-Identifier: MIT
"""What a cache does to stay within its bounds."""
