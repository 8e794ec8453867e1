# SPDX-License-Identifier: MIT
"""What happens at the calls of a cached function, one module for each kind of function."""
