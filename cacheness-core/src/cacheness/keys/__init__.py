# SPDX-License-Identifier: MIT
"""What makes two calls the same."""
