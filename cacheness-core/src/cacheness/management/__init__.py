# SPDX-License-Identifier: MIT
"""What the methods about many entries do, and those that change one in place."""
