# SPDX-License-Identifier: MIT
"""The handler of the weights of Keras models, without the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cacheness.errors import CannotHandleError
from cacheness.handlers.base import BufferHandler
from cacheness_tensorflow.arrays import lend, to_numpy
from cacheness_tensorflow.model import refuse_fingerprint, require_built

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from cacheness.handlers.base import HandlerContext
    from cacheness.handlers.protocols import Buffer, Update
    from cacheness_tensorflow.arrays import AnyArray

__all__ = ["KerasWeightsHandler"]


class KerasWeightsHandler(BufferHandler):
    """`keras.Model` objects by their weights alone, for ``put(…, options={"weights_only": True})``.

    Each weight is a part, an array that NumPy opens; the architecture and the optimizer
    are not kept. A get with ``options={"into": model}`` sets the weights of a model of the same
    architecture, and gives it; one without gives a dict of arrays by the
    weights' paths, without TensorFlow.
    """

    name = "keras_weights"
    data_only = True

    def can_handle(self, obj: object) -> bool:
        import keras

        return isinstance(obj, keras.Model)

    def dumps(self, obj: Any, context: HandlerContext) -> tuple[Iterable[Buffer], dict[str, Any]]:
        if not context.options.get("weights_only"):
            raise CannotHandleError(
                'the weights alone are stored only with options={"weights_only": True}'
            )
        require_built(obj)
        weights = [_stored(weight, context) for weight in obj.weights]
        return (), {"weights": weights}

    def loads(
        self, buffer: memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> Any:
        arrays = [_loaded(stored, context) for stored in metadata["weights"]]
        model = context.options.get("into")
        if model is None:
            return _by_path(metadata["weights"], arrays)
        _check_shapes(model, metadata["weights"], arrays)
        model.set_weights(arrays)
        return model

    def fingerprint(self, obj: Any, update: Update) -> None:
        """Feed nothing, as `KerasModelHandler.fingerprint`.

        Raises:
            UnhashableParameterError: Always; the message says what to do.
        """
        refuse_fingerprint(obj)

    def describe(self, obj: Any) -> str:
        return f"weights of {type(obj).__name__} {obj.name!r}, {obj.count_params():,} parameters"


def _stored(weight: Any, context: HandlerContext) -> dict[str, Any]:
    import tensorflow as tf

    array, dtype = lend(tf.convert_to_tensor(weight.value))
    # What the tensor lends is read-only; what is read back is the reader's own.
    own = np.asarray(_Writeable(array))
    return {"path": weight.path, "dtype": dtype, "array": context.put_part(own)}


class _Writeable:
    """The memory of an array, for one that does not say that it is read-only."""

    def __init__(self, array: AnyArray) -> None:
        self._array = array
        self.__array_interface__ = {
            **array.__array_interface__,
            "data": (array.ctypes.data, False),
        }


def _loaded(stored: Mapping[str, Any], context: HandlerContext) -> AnyArray:
    array: AnyArray = to_numpy(context.get_part(stored["array"]), stored["dtype"])
    return array


def _by_path(stored: list[Mapping[str, Any]], arrays: list[AnyArray]) -> dict[str, AnyArray]:
    """The arrays by path; one that an earlier weight has gets a number."""
    named: dict[str, AnyArray] = {}
    for number, (each, array) in enumerate(zip(stored, arrays, strict=True)):
        path = each["path"]
        named[path if path not in named else f"{path}#{number}"] = array
    return named


def _check_shapes(model: Any, stored: list[Mapping[str, Any]], arrays: list[AnyArray]) -> None:
    theirs = [(tuple(weight.shape), str(weight.dtype)) for weight in model.weights]
    ours = [(array.shape, each["dtype"]) for each, array in zip(stored, arrays, strict=True)]
    if theirs != ours:
        raise ValueError(
            f"the model {model.name!r} has other weights than those that were stored: "
            f"{_difference(theirs, ours)}"
        )


def _difference(theirs: list[Any], ours: list[Any]) -> str:
    if len(theirs) != len(ours):
        return f"{len(theirs)}, not {len(ours)}"
    pairs = enumerate(zip(theirs, ours, strict=True))
    return next(f"number {i} is {one}, not {other}" for i, (one, other) in pairs if one != other)
