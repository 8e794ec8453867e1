# SPDX-License-Identifier: MIT
"""Digests of datasets and models, for callers who choose that these count by their contents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cacheness.handlers.array_fingerprint import feed_text
from cacheness.keys.hashing import Stream
from cacheness_tensorflow.chunks import batches_of
from cacheness_tensorflow.elements import ElementPlan
from cacheness_tensorflow.fingerprint import feed_tensor, feed_tensors

if TYPE_CHECKING:
    from typing import Any

__all__ = ["dataset_digest", "model_digest"]

_BYTES = 16
_AT_ONCE = 128
"""How many elements are hashed at once; another number would make other digests."""


def dataset_digest(dataset: Any) -> str:
    """Read a dataset once, and give a digest of its element spec and its elements in order.

    Args:
        dataset: A finite `tf.data.Dataset`.

    Returns:
        32 hex characters, equal for datasets of equal elements in every process.

    Raises:
        SerializationError: The dataset is infinite, or of elements that `DatasetHandler` refuses.

    Example:
        >>> cache.put(statistics, data=dataset_digest(dataset))  # doctest: +SKIP
    """
    from cacheness_tensorflow.dataset import require_finite

    require_finite(dataset)
    plan = ElementPlan.of(dataset.element_spec)
    stream = Stream()
    feed_text(repr(plan.element_spec()), stream.update)
    for batch in batches_of(dataset, plan, _AT_ONCE):
        for slot, value in zip(plan.slots, batch, strict=True):
            feed_tensors(slot.kind, slot.take_apart(value), stream.update)
    return stream.digest()[:_BYTES].hex()


def model_digest(model: Any) -> str:
    """Give a digest of a Keras model's architecture and its weights.

    The names of its layers count, also those that Keras makes up and numbers; the
    optimizer's state and the compile options do not.

    Args:
        model: A `keras.Model` that was built.

    Returns:
        32 hex characters, equal for equal models in every process.

    Example:
        >>> cache.put(predictions, model=model_digest(model), day=3)  # doctest: +SKIP
    """
    import keras
    import tensorflow as tf

    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    stream = Stream()
    feed_text(json.dumps(_without_ids(config), sort_keys=True, default=repr), stream.update)
    for weight in model.weights:
        feed_tensor(tf.convert_to_tensor(weight.value), stream.update)
    return stream.digest()[:_BYTES].hex()


def _without_ids(config: Any) -> Any:
    """A configuration without the numbers that only tell objects of this process apart."""
    if isinstance(config, dict):
        return {
            str(name): _without_ids(value)
            for name, value in config.items()
            if name != "shared_object_id"
        }
    if isinstance(config, (list, tuple)):
        return [_without_ids(value) for value in config]
    return config
