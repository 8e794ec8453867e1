# SPDX-License-Identifier: MIT
"""Files and folders: their names, locks, and how they are written to last."""
