# SPDX-License-Identifier: MIT
"""How entries travel between caches."""
