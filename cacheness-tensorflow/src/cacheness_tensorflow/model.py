# SPDX-License-Identifier: MIT
"""The handler of Keras models."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

from cacheness.errors import CannotHandleError, SerializationError, UnhashableParameterError
from cacheness.handlers.base import Handler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeAlias

    from cacheness.handlers.base import HandlerContext
    from cacheness.handlers.protocols import Update

    Model: TypeAlias = Any
    """A `keras.Model`; Keras ships no types."""

__all__ = ["KerasModelHandler", "refuse_fingerprint", "require_built"]


class KerasModelHandler(Handler):
    """`keras.Model` objects, compiled or not: architecture, weights and optimizer state.

    The payload is Keras' own ``.keras`` archive. It is read with ``safe_mode=True``, so a
    model with a lambda in it, which that would refuse, is refused at the put. Classes
    of your own are found by Keras: register them with
    ``@keras.saving.register_keras_serializable()``; a model with such classes is read back
    once at the put, so that one that Keras can't read is refused there. The state of
    random generators (of dropout, for one), which Keras leaves out, is kept beside the archive.

    Options on get: ``{"compile": False}`` leaves the optimizer out, ``{"custom_objects": {…}}``
    is handed to Keras. The option ``{"weights_only": True}`` on put stores the weights
    alone (see `KerasWeightsHandler`).
    """

    name = "keras_model"
    extension = ".keras"

    def can_handle(self, obj: object) -> bool:
        import keras

        return isinstance(obj, keras.Model)

    def put_with(self, obj: Any, file_path: str, context: HandlerContext) -> dict[str, Any]:
        if context.options.get("weights_only"):
            raise CannotHandleError("only the weights are asked for")
        require_built(obj)
        obj.save(file_path)
        config = _config_of(file_path)
        if _holds(config, _is_lambda):
            raise SerializationError(
                f"the model {obj.name!r} has a lambda in it, which Keras reads back only with "
                "safe_mode=False; define the function at the top of a module and register it "
                "with @keras.saving.register_keras_serializable()"
            )
        if _holds(config, _is_custom):
            _require_readable(obj, file_path)
        return {"random": [state.numpy().tolist() for state in _random_states(obj)]}

    def get_with(self, file_path: str, metadata: Mapping[str, Any], context: HandlerContext) -> Any:
        import keras

        model = keras.saving.load_model(
            file_path,
            custom_objects=context.options.get("custom_objects"),
            compile=context.options.get("compile", True),
            safe_mode=True,
        )
        for state, value in zip(_random_states(model), metadata["random"], strict=True):
            state.assign(value)
        return model

    def fingerprint(self, obj: Any, update: Update) -> None:
        """Feed nothing: whether its weights or its origin count, only the caller knows.

        Raises:
            UnhashableParameterError: Always; the message says what to do.
        """
        refuse_fingerprint(obj)

    def describe(self, obj: Any) -> str:
        state = "compiled" if obj.compiled else "not compiled"
        parameters = f"{obj.count_params():,} parameters" if obj.built else "not built"
        return f"{type(obj).__name__} {obj.name!r}, {parameters}, {state}"


def require_built(model: Model) -> None:
    """Make sure that a model has weights.

    Raises:
        SerializationError: It would get them, at random, only when it is first called.
    """
    if not model.built:
        raise SerializationError(
            f"the model {model.name!r} has no weights yet, because it was never built; call "
            "it once, or its build(), before it is stored"
        )


def refuse_fingerprint(model: Model) -> None:
    """Say how a model can count in a key.

    Raises:
        UnhashableParameterError: Always.
    """
    raise UnhashableParameterError(
        f"the model {model.name!r} may count in a key by its weights, which change as it "
        "trains, or by what it was made of; choose: pass "
        "cacheness_tensorflow.model_digest(model), or what it was made of, or leave it out "
        "with ignore="
    )


def _config_of(file_path: str) -> Any:
    with zipfile.ZipFile(file_path) as archive:
        return json.loads(archive.read("config.json"))


def _require_readable(model: Model, file_path: str) -> None:
    import keras

    try:
        keras.saving.load_model(file_path, safe_mode=True)
    except Exception as error:
        raise SerializationError(
            f"Keras wrote the model {model.name!r}, but can't read it back: {error}"
        ) from error


def _random_states(model: Model) -> list[Any]:
    """The variables of the model's random generators, which are no weights to Keras."""
    return [v for v in model.variables if v.path.endswith("seed_generator_state")]


def _holds(config: Any, is_such: Callable[[dict[str, Any]], bool]) -> bool:
    """Whether a mapping somewhere in a model's configuration is such."""
    if isinstance(config, list):
        return any(_holds(value, is_such) for value in config)
    if not isinstance(config, dict):
        return False
    return is_such(config) or any(_holds(value, is_such) for value in config.values())


def _is_lambda(config: dict[str, Any]) -> bool:
    # As an activation, Keras writes the bare code, defaults and closure.
    bare = config.keys() == {"value"} and isinstance(config["value"], list)
    return bare or config.get("class_name") == "__lambda__"


def _is_custom(config: dict[str, Any]) -> bool:
    if "class_name" not in config:
        return False
    module = config.get("module") or ""
    return module.partition(".")[0] not in ("keras", "builtins")
