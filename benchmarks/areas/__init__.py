# SPDX-License-Identifier: MIT
"""What `compare.py` compares, an area a module, each with ``rows(folder)``."""
