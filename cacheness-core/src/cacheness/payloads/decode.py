# SPDX-License-Identifier: MIT
"""The ways in which a stored payload becomes a value again."""

from __future__ import annotations

from xxhash import xxh3_128_hexdigest

from cacheness.errors import HandlerNotFoundError, PluginNotInstalledError
from cacheness.payloads.checksum import FAST, checksum_of
from cacheness.payloads.context import EMPTY, GetContext
from cacheness.payloads.refusals import UndecodableError, ends_the_caller

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from cacheness.backends.shapes import PlainPayload, StoredPayload
    from cacheness.blobs.base import BlobBackend
    from cacheness.config import CacheConfig
    from cacheness.payloads.reading import Reading
    from cacheness.payloads.signing import Signer
    from cacheness.plugins.registry import LoadedHandler, Registry

    Loads = Callable[[memoryview, Mapping[str, Any], GetContext], Any]

__all__ = ["Decoder"]


class Decoder:
    """Reads payloads.

    Args:
        registry: Finds handlers and compressors.
        config: The cache's options.
        blobs: Opens the blob backend at first need.
        signer: Opens the signer at first need.
    """

    def __init__(
        self,
        registry: Registry,
        config: CacheConfig,
        blobs: Callable[[], BlobBackend],
        signer: Callable[[], Signer],
    ) -> None:
        self.registry = registry
        self.blobs = blobs
        self.signer = signer
        self.namespace = config.namespace
        self.signing = config.signing
        self.allow_pickle = config.allow_pickle
        self.verify = config.verify
        self.handler_options = config.handler_options
        self.verified: set[int] = set()
        self._plain: dict[str, Loads] = {}
        self._plain_context = self.context("", EMPTY, verified=config.signing == "off")

    def read_plain(self, plain: PlainPayload, missing: object) -> Any:
        """[hot] Give the value of an entry of `MetadataBackend.find_plain`, or ``missing``.

        One checksum, written out where it is the usual one (0.2 µs of 1.2), and one call of
        the handler. Whatever is unusual gives ``missing``: `read` then finds out what it is.
        """
        name, checksum, _, payload = plain
        loads = self._plain.get(name) or self._plain_loads(name)
        if loads is None:
            return missing
        try:
            if FAST + xxh3_128_hexdigest(payload) != checksum and (
                checksum_of(payload, checksum) != checksum
            ):
                return missing
            return loads(memoryview(payload), EMPTY, self._plain_context)
        except BaseException as error:
            if ends_the_caller(error):
                raise
            return missing  # a handler's own errors are told by `read`

    def again(self, plain: PlainPayload, value: object) -> tuple[Callable[[], Any], int]:
        """What gives the value anew that `read_plain` gave, by copies or the handler; its bytes."""
        from functools import partial

        from cacheness.payloads.copies import giver, weight

        give = giver(value)
        if give is not None:
            return give, weight(value)
        loads = self._plain[plain[0]]
        decode = partial(loads, memoryview(plain[3]), EMPTY, self._plain_context)
        return decode, len(plain[3])

    def _plain_loads(self, name: str) -> Loads | None:
        """The ``loads`` of a handler that is met for the first time, where it is plain."""
        try:
            self.handler("", name, 1)
        except (HandlerNotFoundError, PluginNotInstalledError, UndecodableError):
            return None
        return self._plain.get(name)

    # --- the ways in --------------------------------------------------------------------

    def read(self, cache_key: str, stored: StoredPayload, options: Mapping[str, Any] | None) -> Any:
        """Give the value, verified as the configuration asks.

        Raises:
            BlobCorruptedError: The payload is not the one that was stored.
            FileNotFoundError: Its blob is missing.
            SignatureError: It needs a signature and has none that holds.
            PluginNotInstalledError: Its handler is not installed, or older than the entry.
            UndecodableError: The handler can't decode it.
            BackendUnavailableError: Its blob is out of reach.
        """
        return self._reading(cache_key, stored, options).value()

    def lazy(self, cache_key: str, stored: StoredPayload, options: Mapping[str, Any] | None) -> Any:
        """Give the handler's lazy handle where it has one, else the value.

        The checksum of an entry that needs no signature is not compared. Raises as `read`.
        """
        return self._reading(cache_key, stored, options).lazy()

    def mapped(
        self, cache_key: str, stored: StoredPayload, options: Mapping[str, Any] | None
    ) -> Any:
        """Give a read-only view of the value where the handler can; else as `lazy`."""
        return self._reading(cache_key, stored, options).mapped()

    def intact(
        self, cache_key: str, stored: StoredPayload, options: Mapping[str, Any] | None
    ) -> Any:
        """Raise as `read`, but decode nothing that is data-only or signed: it might import much."""
        return self._reading(cache_key, stored, options).intact()

    def _reading(
        self, cache_key: str, stored: StoredPayload, options: Mapping[str, Any] | None
    ) -> Reading:
        from cacheness.payloads.reading import Reading

        return Reading(self, cache_key, stored, options)

    # --- shared by readings ---------------------------------------------------------------

    def handler(self, cache_key: str, name: str, version: int) -> LoadedHandler:
        """The handler of an entry or part; raises `HandlerNotFoundError` as the registry does."""
        try:
            loaded = self.registry.handler(name)
        except (ImportError, AttributeError) as error:
            raise UndecodableError from error
        if version > loaded.version:
            raise PluginNotInstalledError(
                f"entry {cache_key} was stored by version {version} of the handler {name!r}, "
                f"installed is {loaded.version}: upgrade {loaded.distribution or 'its code'}"
            )
        if (
            loaded.loads
            and loaded.data_only
            and self.signing != "all"
            and name not in self.handler_options
        ):
            self._plain[name] = loaded.loads
        return loaded

    def context(self, cache_key: str, options: Mapping[str, Any], *, verified: bool) -> GetContext:
        return GetContext(
            cache_key,
            options,
            self.registry.compressor("none"),
            _no_parts,
            verified=verified,
            allow_pickle=self.allow_pickle,
            decoder=self,
        )


def _no_parts(_number: int, _context: GetContext) -> Any:
    raise ValueError("this payload has no parts")
