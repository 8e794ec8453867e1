# SPDX-License-Identifier: MIT
"""What is installed, and what it provides."""
