# SPDX-License-Identifier: MIT
"""The handlers of types."""
