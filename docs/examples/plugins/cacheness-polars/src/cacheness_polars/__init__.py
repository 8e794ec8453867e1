# SPDX-License-Identifier: MIT
"""Frames and series of polars in cacheness."""
