# SPDX-License-Identifier: MIT
"""What the core tells handlers about a put or a get."""

from __future__ import annotations

from cacheness.errors import CannotHandleError, SignatureError
from cacheness.handlers.base import HandlerContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from cacheness.compressors.base import Compressor
    from cacheness.payloads.decode import Decoder
    from cacheness.plugins.registry import Registry

__all__ = ["GetContext", "Parts", "PutContext"]

EMPTY: Mapping[str, Any] = {}


class Parts:
    """The parts of one payload that is being written, in the order of their numbers."""

    __slots__ = ("_numbers", "objects")

    def __init__(self) -> None:
        self.objects: list[object] = []
        self._numbers: dict[int, int] = {}

    def number(self, obj: object) -> int:
        """The part's number; the same object gets the same one."""
        number = self._numbers.setdefault(id(obj), len(self.objects))
        if number == len(self.objects):
            self.objects.append(obj)  # also keeps it alive, so that its id stays its own
        return number


class PutContext(HandlerContext):
    """What a handler is told about a put."""

    __slots__ = ("_allow_pickle", "_compressor", "_options", "_registry", "data_only", "parts")

    def __init__(
        self,
        registry: Registry,
        parts: Parts,
        options: Mapping[str, Any],
        compressor: Compressor,
        *,
        allow_pickle: bool,
    ) -> None:
        self._registry = registry
        self._options = options
        self._compressor = compressor
        self._allow_pickle = allow_pickle
        self.parts = parts
        self.data_only = True
        """Whether the handler has not asked for a signature."""

    @property
    def options(self) -> Mapping[str, Any]:
        return self._options

    @property
    def compressor(self) -> Compressor:
        return self._compressor

    @property
    def verified(self) -> bool:
        return True

    @property
    def allow_pickle(self) -> bool:
        return self._allow_pickle

    def put_part(self, obj: object) -> dict[str, Any]:
        return {"part": self.parts.number(obj)}

    def get_part(self, part: Mapping[str, Any]) -> Any:
        raise TypeError("get_part is for reading; this payload is being written")

    def part_handler(self, obj: object) -> str:
        for loaded in self._registry.handlers_for(obj):
            return loaded.name
        return ""

    def require_signature(self) -> None:
        if not self._allow_pickle:
            raise CannotHandleError("allow_pickle=False keeps only what is data-only")
        self.data_only = False

    def require_verified(self, what: str) -> None:
        """Always allowed: the object is the caller's own."""


class GetContext(HandlerContext):
    """What a handler is told about a get."""

    __slots__ = (
        "_allow_pickle",
        "_compressor",
        "_decoder",
        "_options",
        "_read_part",
        "_verified",
        "cache_key",
    )

    def __init__(
        self,
        cache_key: str,
        options: Mapping[str, Any],
        compressor: Compressor,
        read_part: Callable[[int, GetContext], Any],
        *,
        verified: bool,
        allow_pickle: bool,
        decoder: Decoder | None = None,
    ) -> None:
        self.cache_key = cache_key
        """The entry's key, for messages."""
        self._decoder = decoder
        self._options = options
        self._compressor = compressor
        self._read_part = read_part
        self._verified = verified
        self._allow_pickle = allow_pickle

    @property
    def options(self) -> Mapping[str, Any]:
        return self._options

    @property
    def compressor(self) -> Compressor:
        return self._compressor

    @property
    def verified(self) -> bool:
        return self._verified

    @property
    def allow_pickle(self) -> bool:
        return self._allow_pickle

    def put_part(self, obj: object) -> dict[str, Any]:
        raise TypeError("put_part is for writing; this payload is being read")

    def get_part(self, part: Mapping[str, Any]) -> Any:
        number = part.get("part")
        if type(number) is not int:
            raise ValueError(f"{part!r} names no part")
        return self._read_part(number, self)

    @property
    def decoder(self) -> Decoder:
        """What decodes payloads within this one; not for one of parts."""
        if self._decoder is None:
            raise TypeError("this payload has parts, which get_part reads")
        return self._decoder

    def part_handler(self, obj: object) -> str:
        raise TypeError("part_handler is for writing; this payload is being read")

    def require_signature(self) -> None:
        raise TypeError("require_signature is for writing; this payload is being read")

    def require_verified(self, what: str) -> None:
        if not (self._verified and self._allow_pickle):
            why = "its signature did not verify" if self._allow_pickle else "allow_pickle=False"
            raise SignatureError(f"entry {self.cache_key} asks for {what}, and {why}")
