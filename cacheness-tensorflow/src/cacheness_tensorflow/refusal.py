# SPDX-License-Identifier: MIT
"""The handler that says why some things of TensorFlow and Keras can't be stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cacheness.errors import SerializationError, UnhashableParameterError
from cacheness.handlers.base import BufferHandler

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from cacheness.handlers.base import HandlerContext
    from cacheness.handlers.protocols import Buffer, Update

__all__ = ["RefusalHandler"]

_WHY = {
    "TensorArray": (
        "is a stack of tensors that is being written to, some of which may be gone; store "
        "what its stack() or concat() gives"
    ),
    "KerasTensor": (
        "stands for a layer's output before there is any input, so it has no value; store "
        "the model, or what the model gives for an input"
    ),
}


class RefusalHandler(BufferHandler):
    """`tf.TensorArray` and `keras.KerasTensor`, which have no value to keep."""

    name = "tensorflow_refused"
    data_only = True

    def can_handle(self, obj: object) -> bool:
        return type(obj).__name__ in _WHY

    def dumps(self, obj: Any, context: HandlerContext) -> tuple[Iterable[Buffer], dict[str, Any]]:
        raise SerializationError(f"a {_why(obj)}")

    def loads(
        self, buffer: memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> Any:
        raise ValueError("this handler stores nothing")

    def fingerprint(self, obj: Any, update: Update) -> None:
        """Feed nothing: what has no value has no fingerprint.

        Raises:
            UnhashableParameterError: Always.
        """
        raise UnhashableParameterError(f"a {_why(obj)}, and pass that")


def _why(obj: object) -> str:
    name = type(obj).__name__
    return f"{name} {_WHY[name]}"
