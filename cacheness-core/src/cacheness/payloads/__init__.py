# SPDX-License-Identifier: MIT
"""The way of a value to disk and back."""
