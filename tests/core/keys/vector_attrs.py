# SPDX-License-Identifier: MIT
"""An attrs class, of which the key vectors hold an instance."""

import attrs


@attrs.define
class Box:
    width: int
    labels: list = attrs.Factory(list)

    def area(self):
        return self.width**2
