# SPDX-License-Identifier: MIT
"""What is recorded of one stored value."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Entry", "build_entry", "renewal"]


@dataclass(frozen=True, slots=True)
class Entry:
    """The record of one stored value, without the value itself.

    Times are UTC epoch seconds, sizes are bytes, costs are seconds.
    """

    namespace: str
    """The namespace that the entry lives in; half of its identity."""
    cache_key: str
    """The key within the namespace; the other half."""
    generation: int
    """A positive 63-bit number, new at every put."""
    prefix: str = ""
    """The caller's label for grouping and filtering; not part of the key."""
    description: str = ""
    """The caller's free text."""
    params: dict[str, Any] = field(default_factory=dict)
    """The parameters that the key was made of, as far as JSON keeps them briefly."""
    handler: str = ""
    """The name of the handler that wrote the payload."""
    handler_version: int = 1
    """The version of that handler's format."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """What the handler returned at put and is given back at get (JSON)."""
    object_type: str = ""
    """``module.qualname`` of the stored object's class."""
    summary: str = ""
    """One line of the handler's ``describe``."""
    compressor: str = "none"
    """The compressor that the core applied to the handler's bytes."""
    stored_bytes: int = 0
    """The payload's bytes in the store."""
    logical_bytes: int = 0
    """The payload's bytes before compression."""
    checksum: str = ""
    """``algorithm:hex`` over the stored payload: ``xxh3-128`` or ``blake3``."""
    signature: str | None = None
    """``key id:hex`` of the HMAC-SHA256, or None."""
    inline: bytes | None = None
    """The payload, where it is small enough to live in the entry."""
    blob: str | None = None
    """The name of the blob that holds the payload otherwise."""
    blob_store: str | None = None
    """The id of the store in which that blob lies."""
    created_at: float = 0.0
    """When this generation was stored."""
    renewed_at: float = 0.0
    """From when its age counts: creation, or the last ``touch``."""
    accessed_at: float = 0.0
    """When it was last read, as far as hits were flushed."""
    ttl_seconds: float | None = None
    """The time to live in seconds that it was stored with; None is for ever."""
    expires_at: float | None = None
    """From when it is a miss; None is never."""
    stale_until: float | None = None
    """Until when an expired entry may still be served while it is refreshed."""
    pinned: bool = False
    """Whether eviction passes it over."""
    hits: int = 0
    """Reads of this generation, as far as they were flushed."""
    cost_seconds: float | None = None
    """The seconds that computing the value took, None where nobody knows: measured around the
    call by `cached` and `get_or_compute`, waiting included, or told by who put it."""
    function: str | None = None
    """``module:qualname`` of the cached function that made it."""
    code_digest: str | None = None
    """The digest of that function's code at the time."""
    key_parts: dict[str, Any] = field(default_factory=dict)
    """Digests of what the key was made of, for explaining a miss."""
    tags: tuple[str, ...] = ()
    """The caller's labels."""
    custom_metadata: dict[str, Any] = field(default_factory=dict)
    """The caller's own JSON."""
    distribution: str = ""
    """The distribution that the handler came from; empty for one of a process."""

    def _repr_html_(self) -> str:
        """As notebooks show it."""
        from cacheness.views import entry_as_html

        return entry_as_html(self)


def _builder() -> Callable[..., Entry]:
    """Compile a function that takes an entry's fields as keywords, as `Entry` does.

    A frozen dataclass sets each of its fields through `object.__setattr__`, which takes
    7 µs of a small put's 40 for all of them. This sets them on a twin with the same
    slots, and then makes the twin an `Entry`: 1.5 µs.
    """
    defaults: dict[str, Any] = {}
    arguments, settings = [], []
    for of in fields(Entry):
        default = ""
        if of.default is not MISSING:
            defaults[f"_{of.name}"] = of.default
            default = f"=_{of.name}"
        elif of.default_factory is not MISSING:
            defaults[f"_{of.name}"] = None
            default = f"=_{of.name}"
            defaults[f"_make_{of.name}"] = of.default_factory
        arguments.append(f"{of.name}{default}")
        made = f" if {of.name} is not None else _make_{of.name}()"
        settings.append(f"{of.name}{made if f'_make_{of.name}' in defaults else ''}")
    lines = [
        f"def build_entry(*, {', '.join(arguments)}):",
        "    entry = _Twin()",
        *(
            f"    entry.{of.name} = {value}"
            for of, value in zip(fields(Entry), settings, strict=True)
        ),
        "    entry.__class__ = _Entry",
        "    return entry",
    ]
    twin = type("_Twin", (), {"__slots__": tuple(of.name for of in fields(Entry))})
    namespace: dict[str, Any] = {**defaults, "_Twin": twin, "_Entry": Entry}
    exec("\n".join(lines), namespace)  # noqa: S102  # the source names our own fields only
    build: Callable[..., Entry] = namespace["build_entry"]
    return build


build_entry = _builder()
"""[hot] `Entry`, quicker to make; keywords only."""


def renewal(
    renewed_at: float,
    ttl_seconds: float | None,
    *,
    expires_at: float | None,
    stale_until: float | None,
) -> dict[str, float | None]:
    """When an entry expires whose age counts from ``renewed_at``, and until when it is stale.

    Args:
        renewed_at: From when its age counts now.
        ttl_seconds: Its time to live now.
        expires_at: When it expired until now.
        stale_until: Until when it would have been served stale, which is as long after its
            expiry as before.
    """
    expires_anew = None if ttl_seconds is None else renewed_at + ttl_seconds
    stale_anew = None
    if expires_anew is not None and expires_at is not None and stale_until is not None:
        stale_anew = expires_anew + (stale_until - expires_at)
    return {"expires_at": expires_anew, "stale_until": stale_anew}
