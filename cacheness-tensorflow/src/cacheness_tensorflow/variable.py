# SPDX-License-Identifier: MIT
"""The handler of variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cacheness.errors import SerializationError, UnhashableParameterError
from cacheness.handlers.array_fingerprint import feed_text
from cacheness.handlers.base import BufferHandler
from cacheness_tensorflow.fingerprint import feed_tensor
from cacheness_tensorflow.string_tensor import StringTensorHandler
from cacheness_tensorflow.tensor import TensorFlowHandler

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, TypeAlias

    from cacheness.handlers.base import HandlerContext
    from cacheness.handlers.protocols import Buffer, Update
    from cacheness_tensorflow.arrays import Tensor

    Variable: TypeAlias = Any
    """A `tf.Variable`; TensorFlow ships no types."""

__all__ = ["VariableHandler"]

_NUMBERS = TensorFlowHandler()
_STRINGS = StringTensorHandler()


class VariableHandler(BufferHandler):
    """`tf.Variable` objects: the value, and all that the constructor takes besides.

    That is name, trainable, the shape where it is wider than the value's, synchronization,
    aggregation, caching device and constraint. The payload is that of a tensor of the
    same value; a constraint, which is code, is a part of its own and makes the payload need
    a signature. Variables of a distribution strategy are refused.

    ``options={"as_numpy": True}`` on get gives the value as an array, without TensorFlow.
    """

    name = "tensorflow_variable"
    extension = ".npy"
    data_only = True
    compresses = True

    def can_handle(self, obj: object) -> bool:
        import tensorflow as tf

        return isinstance(obj, tf.Variable)

    def dumps(self, obj: Any, context: HandlerContext) -> tuple[Iterable[Buffer], dict[str, Any]]:
        _require_plain(obj)
        value = obj.read_value()
        stored = _STRINGS if obj.dtype.name == "string" else _NUMBERS
        buffers, metadata = stored.dumps(value, context)
        metadata["variable"] = _attributes(obj)
        if stored is _STRINGS:
            metadata["strings"] = True
        if obj.constraint is not None:
            context.require_signature()
            metadata["constraint"] = context.put_part(obj.constraint)
        return buffers, metadata

    def loads(
        self, buffer: memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> Any:
        stored = _STRINGS if metadata.get("strings") else _NUMBERS
        value = stored.loads(buffer, metadata, context)
        if context.options.get("as_numpy"):
            return value
        part = metadata.get("constraint")
        constraint = None if part is None else context.get_part(part)
        return _made(value, metadata["variable"], constraint)

    def fingerprint(self, obj: Any, update: Update) -> None:
        """Feed the value and the constructor's other arguments.

        Raises:
            UnhashableParameterError: It has a constraint, which may be any code.
        """
        _require_plain(obj)
        if obj.constraint is not None:
            raise UnhashableParameterError(
                f"the variable {obj.name!r} has a constraint, which may be any code; "
                "pass its value, variable.read_value()"
            )
        feed_text(repr(("variable", sorted(_attributes(obj).items()))), update)
        feed_tensor(obj.read_value(), update)

    def describe(self, obj: Any) -> str:
        return f"variable {obj.name} {obj.dtype.name} {tuple(obj.read_value().shape)}"


def _require_plain(variable: Variable) -> None:
    kind = type(variable).__name__
    if kind == "UninitializedVariable":
        raise SerializationError(
            f"the variable {variable.name!r} is being made inside a tf.function and has no "
            "value yet; store it outside"
        )
    if kind != "ResourceVariable":
        raise SerializationError(
            f"a {kind} belongs to a distribution strategy, which is not stored; store its "
            "value, variable.read_value()"
        )


def _attributes(variable: Variable) -> dict[str, Any]:
    """The arguments that make the same variable again, as JSON."""
    shape = variable.shape
    return {
        "name": variable.name.removesuffix(":0"),
        "trainable": bool(variable.trainable),
        "synchronization": variable.synchronization.name,
        "aggregation": variable.aggregation.name,
        "shape": None if shape.rank is None else list(shape),
        # Only the constructor's attribute holds it; there is no public one.
        "caching_device": _text_or_none(variable._caching_device),
    }


def _text_or_none(caching_device: object) -> str | None:
    if caching_device is not None and not isinstance(caching_device, str):
        raise SerializationError(
            "a variable whose caching device is a function can't be stored; name the device"
        )
    return caching_device


def _made(value: Tensor, attributes: Mapping[str, Any], constraint: Any) -> Variable:
    import tensorflow as tf

    # Outside of the scopes that are open just now, which would be put before the name.
    with tf.init_scope(), tf.name_scope(""):
        return tf.Variable(
            value,
            name=attributes["name"],
            trainable=attributes["trainable"],
            synchronization=tf.VariableSynchronization[attributes["synchronization"]],
            aggregation=tf.VariableAggregation[attributes["aggregation"]],
            shape=tf.TensorShape(attributes["shape"]),
            caching_device=attributes["caching_device"],
            constraint=constraint,
        )
