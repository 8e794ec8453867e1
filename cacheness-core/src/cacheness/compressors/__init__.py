# SPDX-License-Identifier: MIT
"""Byte codecs."""
