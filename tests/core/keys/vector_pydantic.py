# SPDX-License-Identifier: MIT
"""A pydantic model, of which the key vectors hold an instance."""

import pydantic


class Model(pydantic.BaseModel):
    size: int = 3
    names: list[str] = pydantic.Field(default_factory=list)

    def total(self):
        return self.size + len(self.names)
