# SPDX-License-Identifier: MIT
"""The keys of one function's calls, made from values in an order that is fixed beforehand."""

from __future__ import annotations

from blake3 import blake3

from cacheness.keys.encoding import (
    KEY_BYTES,
    FunctionKey,
    Unstable,
    encode,
    encode_params,
    ordered_names,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["CallKeys"]


class CallKeys:
    """Makes the same keys as `FunctionKey`, in fewer steps.

    Args:
        of: The function's part of the keys.
        names: The parameters that count.
    """

    __slots__ = ("_current", "_heads", "_of", "names")

    def __init__(self, of: FunctionKey, names: Iterable[str]) -> None:
        plan = ordered_names(tuple(names))
        self.names = tuple(name for name, _ in plan)
        """The order in which `key` takes the values."""
        self._heads = tuple(head for _, head in plan)
        self._of = of
        # In one tuple, so that no thread takes the head of another digest than it has.
        self._current: tuple[str | None, bytes] = (None, b"")

    def key(self, code_digest: str, values: tuple[Any, ...]) -> str:
        """[hot] The key of a call: 32 hex characters.

        Raises:
            UnhashableParameterError: An argument has no stable fingerprint.
        """
        digest, head = self._current
        if digest is not code_digest:
            head = self._of.head(code_digest)
            self._current = (code_digest, head)
        pieces = [head]
        add = pieces.append
        try:
            for name, value in zip(self._heads, values):  # noqa: B905  # as many, and strict costs
                kind = type(value)
                if kind is str and len(value) < 64 and value.isascii():
                    add(b"%bs%d:%b" % (name, len(value), value.encode()))
                else:
                    add(name)
                    add(encode(value))
        except (Unstable, RecursionError):
            # Raises the error that names the parameter.
            encode_params(dict(zip(self.names, values, strict=True)))
            raise
        return blake3(b"".join(pieces)).digest(KEY_BYTES).hex()
