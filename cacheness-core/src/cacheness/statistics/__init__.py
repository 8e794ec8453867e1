# SPDX-License-Identifier: MIT
"""What reads and puts counted."""
