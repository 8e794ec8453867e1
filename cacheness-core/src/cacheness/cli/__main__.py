# SPDX-License-Identifier: MIT
"""``python -m cacheness.cli`` is the command, too."""

from cacheness.cli import main

if __name__ == "__main__":
    main()
