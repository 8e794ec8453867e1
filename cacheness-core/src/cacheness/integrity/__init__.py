# SPDX-License-Identifier: MIT
"""What is damaged or named by nothing, and how it is mended."""
