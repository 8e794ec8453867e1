# SPDX-License-Identifier: MIT
"""Who computes what is missing, and who waits for it."""
