# SPDX-License-Identifier: MIT
"""What a type handler is: the base class, and what it is told about a put or a get."""

from __future__ import annotations

from abc import ABC, abstractmethod

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from cacheness.compressors.base import Compressor
    from cacheness.handlers.protocols import Buffer

__all__ = ["Handler", "HandlerContext"]


class HandlerContext(ABC):
    """What a handler is told about the put or the get that it serves.

    The core makes one for each put and each get; handlers only read it.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def options(self) -> Mapping[str, Any]:
        """The caller's ``options=`` over the cache's ``handler_options`` for this handler."""

    @property
    @abstractmethod
    def compressor(self) -> Compressor:
        """The compressor to apply inside the handler's own format.

        Only for handlers that say ``compresses = True``. Ask
        ``context.compressor.choose(sample, size=…, typesize=…)`` for the one that pays
        for these bytes; its ``name`` is ``"none"`` where raw bytes are best.
        """

    @property
    @abstractmethod
    def verified(self) -> bool:
        """Whether the payload's signature verified (or the cache asks for none)."""

    @property
    @abstractmethod
    def allow_pickle(self) -> bool:
        """Whether the cache keeps and reads what is not data-only."""

    @abstractmethod
    def put_part(self, obj: object) -> dict[str, Any]:
        """Hand a part to its own handler; store the returned JSON and pass it to `get_part`.

        The part is encoded when the payload is written, after ``dumps`` returned, so
        do not change ``obj`` meanwhile. The same object gives the same part.
        """

    @abstractmethod
    def get_part(self, part: Mapping[str, Any]) -> Any:
        """Read back what `put_part` stored; the same part gives the same object.

        Raises:
            SignatureError: The part is not data-only and the payload is not verified.
        """

    @abstractmethod
    def part_handler(self, obj: object) -> str:
        """The name of the handler that `put_part` would ask first for this object."""

    @abstractmethod
    def require_signature(self) -> None:
        """Say, while putting, that this payload is not data-only although its handler is.

        Raises:
            CannotHandleError: The cache has ``allow_pickle=False``.
        """

    @abstractmethod
    def require_verified(self, what: str) -> None:
        """Say, while getting, that going on would run code: allowed only when verified.

        Args:
            what: What the payload asks for, for the message: ``"a dataclass"``.

        Raises:
            SignatureError: The payload's signature did not verify.
        """


def default_name(class_name: str) -> str:
    """``MyTypeHandler`` → ``my_type``."""
    stem = class_name.removesuffix("Handler") or class_name
    out: list[str] = []
    for i, char in enumerate(stem):
        before_lower = i + 1 < len(stem) and stem[i + 1].islower()
        if (
            char.isupper()
            and i
            and (stem[i - 1].islower() or stem[i - 1].isdigit() or before_lower)
        ):
            out.append("_")
        out.append(char.lower())
    return "".join(out).strip("_")


class Handler(ABC):
    """Keeps objects of some types as bytes in a file, and gives them back exactly.

    The shortest handler overrides `can_handle`, `put` and `get`. The core calls only
    `can_handle`, `put_with` and `get_with`, and the optional capabilities of
    `cacheness.handlers.protocols` where a handler has them. One instance serves all
    threads, so keep no state between calls.

    In all methods, those of the capabilities included, ``obj`` is an object that
    `can_handle` took; ``file_path`` is a file to be made or read, and nobody else's;
    ``metadata`` is what the put returned; ``context`` is a `HandlerContext`; ``update``
    takes bytes into a hash. A put raises `CannotHandleError` for an object that can't be
    kept exactly, a get `SerializationError` or ``ValueError`` for bytes that it can't
    read; of a class that overrides neither form of a method both raise ``TypeError``.

    Example:
        >>> class FractionHandler(Handler):
        ...     extension = ".txt"
        ...     data_only = True
        ...     def can_handle(self, obj):
        ...         return type(obj) is Fraction
        ...     def put(self, obj, file_path):
        ...         Path(file_path).write_text(str(obj))
        ...         return {}
        ...     def get(self, file_path):
        ...         return Fraction(Path(file_path).read_text())
    """

    name: str = ""
    """The registered name; the class's in snake case without "handler" by default."""
    version: int = 1
    """The version of the format; stored, and `get` must read every older one."""
    extension: str = ".bin"
    """How the file's name ends."""
    data_only: bool = False
    """Promise that reading any bytes whatever runs no code of theirs and at worst fails."""
    compresses: bool = False
    """Whether the handler applies ``context.compressor`` inside its own format."""
    opens_buffers: bool = False
    """Whether ``open`` and ``map`` also take a payload's bytes, a memoryview, in place of a path:
    those of one that is inline, compressed by the core or of many parts."""
    verifies: bool = False
    """Whether ``open`` compares all that it decodes with checksums that its metadata have or lead
    to: it is then given the stored file as it lies, for every kind of get."""
    partial_options: frozenset[str] = frozenset()
    """Options of a get that need only a part of the payload: `get_with` then reads the file
    itself, and the checksum of an entry that needs no signature is not compared."""
    decides_by_type: bool = False
    """Promise that `can_handle` says the same of all objects of exactly one type: small puts then
    ask it once for each type."""
    maps_payload: bool = False
    """Whether ``loads`` takes a large payload of an unsigned entry as the stored file's own pages,
    verified and mapped privately, instead of a copy of them: for values that are read more often
    than written to, as each page is copied when it is first written to."""

    buffers_last: bool = False
    """Whether what ``dumps`` gave stays as it is until the value is stored, also while other
    objects are encoded: of the parts of a container a second thread may then read it later."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in cls.__dict__:
            cls.name = default_name(cls.__name__)

    @abstractmethod
    def can_handle(self, obj: object) -> bool:
        """Say quickly whether this handler keeps ``obj`` exactly; a closer look may be in put."""

    def put(self, obj: Any, file_path: str) -> dict[str, Any]:
        """Write exactly the file ``file_path`` and return JSON-able format metadata.

        Raises:
            CannotHandleError: The object can't be kept exactly; the next handler tries.
        """
        raise TypeError(f"{type(self).__name__} overrides neither put nor put_with")

    def get(self, file_path: str) -> Any:
        """Read back what `put` wrote."""
        raise TypeError(f"{type(self).__name__} overrides neither get nor get_with")

    def put_with(self, obj: Any, file_path: str, context: HandlerContext) -> dict[str, Any]:
        """`put`, for a handler that needs the context."""
        return self.put(obj, file_path)

    def get_with(self, file_path: str, metadata: Mapping[str, Any], context: HandlerContext) -> Any:
        """`get`, for a handler that needs the metadata or the context."""
        return self.get(file_path)


class BufferHandler(Handler):
    """A handler whose format lives in memory: `dumps` and `loads`, and files through them."""

    @abstractmethod
    def dumps(self, obj: Any, context: HandlerContext) -> tuple[Iterable[Buffer], dict[str, Any]]:
        """Give the payload as buffers, without a copy where that can be, and its metadata."""

    @abstractmethod
    def loads(
        self, buffer: memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> Any:
        """Read the payload from ``buffer``, which the result may keep."""

    def put_with(self, obj: Any, file_path: str, context: HandlerContext) -> dict[str, Any]:
        buffers, metadata = self.dumps(obj, context)
        with open(file_path, "wb") as file:
            for buffer in buffers:
                file.write(buffer)
        return metadata

    def get_with(self, file_path: str, metadata: Mapping[str, Any], context: HandlerContext) -> Any:
        with open(file_path, "rb") as file:
            return self.loads(memoryview(bytearray(file.read())), metadata, context)
