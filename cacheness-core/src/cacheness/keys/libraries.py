# SPDX-License-Identifier: MIT
"""The canonical bytes of known libraries' types that no handler fingerprints.

They are recognised by import path among the modules that are loaded already.
"""

from __future__ import annotations

import sys

from cacheness.keys.encoding import Memo, Unstable, encode, named
from cacheness.keys.hashing import digest
from cacheness.keys.parts import attributes, class_part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    Encoder: TypeAlias = Callable[[Any, Memo], bytes]

__all__ = ["library_encoder"]

_MOST_TYPES = 2048
_KNOWN: dict[type, Encoder | None] = {}


def library_encoder(kind: type) -> Encoder | None:
    """What encodes instances of this class, where it is one of a known library's."""
    if kind in _KNOWN:
        return _KNOWN[kind]
    encoder = _find(kind)
    if len(_KNOWN) >= _MOST_TYPES:
        _KNOWN.clear()
    _KNOWN[kind] = encoder
    return encoder


def _find(kind: type) -> Encoder | None:
    for path, encoder in _BY_PATH.items():
        module, _, name = path.rpartition(".")
        base = getattr(sys.modules.get(module), name, None)
        if isinstance(base, type) and issubclass(kind, base):
            return encoder
    return _attrs_instance if hasattr(kind, "__attrs_attrs__") else None


def _attrs_instance(value: Any, memo: Memo) -> bytes:
    state = dict(getattr(value, "__dict__", {}))
    for field in type(value).__attrs_attrs__:
        if hasattr(value, field.name):
            state[field.name] = getattr(value, field.name)
    return named("attrs", class_part(type(value), memo), attributes(state, memo))


def _pydantic_model(value: Any, memo: Memo) -> bytes:
    # Which fields were given and which came from defaults does not count, as in its ==.
    state = {**vars(value), **(value.__pydantic_extra__ or {})}
    private = value.__pydantic_private__ or {}
    return named(
        "pydantic",
        class_part(type(value), memo),
        attributes(state, memo),
        attributes(private, memo),
    )


def _object_array(value: Any, memo: Memo) -> bytes:
    dtype = value.dtype
    if not dtype.hasobject:
        # A subclass, or an array that no handler took.
        parts = (encode(dtype.str if dtype.names is None else dtype.descr), encode(value.shape))
        return named("ndarray", class_part(type(value), memo), *parts, encode(value.tobytes()))
    description = dtype.str if dtype.names is None else dtype.descr
    elements = encode(value.ravel(order="C").tolist(), memo)
    head = class_part(type(value), memo)
    return named("ndarray of objects", head, encode(description), encode(value.shape), elements)


def _sparse_matrix(value: Any, memo: Memo) -> bytes:
    # Not its __dict__: that holds flags which a mere look sets.
    layout = value.format
    if layout == "dok":
        content = [dict(value.items())]
    else:
        content = [getattr(value, name) for name in _SPARSE_ARRAYS[layout]]
    return named(
        "scipy.sparse",
        class_part(type(value), memo),
        encode(tuple(int(size) for size in value.shape)),
        encode(value.dtype.str),
        *[encode(part, memo) for part in content],
    )


_SPARSE_ARRAYS = {
    "bsr": ("data", "indices", "indptr"),
    "coo": ("data", "coords"),
    "csc": ("data", "indices", "indptr"),
    "csr": ("data", "indices", "indptr"),
    "dia": ("data", "offsets"),
    "lil": ("rows", "data"),
}


def _torch_tensor(value: Any, memo: Memo) -> bytes:
    torch = sys.modules["torch"]
    if value.layout is torch.sparse_coo:
        whole = value.detach().coalesce()
        parts = [whole.indices(), whole.values()]
    elif value.layout is torch.strided and not value.is_quantized:
        parts = [value.detach()]
    else:
        raise Unstable(
            type(value), f"of layout {value.layout} has no canonical bytes; pass a dense one"
        )
    return named(
        "torch.Tensor",
        class_part(type(value), memo),
        encode(str(value.dtype)),
        encode(tuple(value.shape)),
        encode(value.device.type),
        encode(value.requires_grad),
        *[_torch_bytes(torch, part) for part in parts],
    )


def _torch_bytes(torch: Any, value: Any) -> bytes:
    flat = value.resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    raw = flat.view(torch.uint8).numpy()
    return encode(str(value.dtype)) + encode(tuple(value.shape)) + encode(digest(raw.data))


def _polars_frame(value: Any, memo: Memo) -> bytes:
    from cacheness.keys.polars import encode_frame

    return encode_frame(value, memo)


def _polars_series(value: Any, memo: Memo) -> bytes:
    from cacheness.keys.polars import encode_series

    return encode_series(value, memo)


_BY_PATH: dict[str, Encoder] = {
    "numpy.ndarray": _object_array,
    "polars.DataFrame": _polars_frame,
    "polars.Series": _polars_series,
    "pydantic.BaseModel": _pydantic_model,
    "scipy.sparse.sparray": _sparse_matrix,
    "scipy.sparse.spmatrix": _sparse_matrix,
    "torch.Tensor": _torch_tensor,
}
