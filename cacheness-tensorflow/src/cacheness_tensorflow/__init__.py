# SPDX-License-Identifier: MIT
"""Keeps tensors, variables, datasets and Keras models in cacheness caches.

Installing the package is enough; there is nothing to call. What is here is for keys:
`dataset_digest` and `model_digest`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness_tensorflow.digests import dataset_digest, model_digest

__all__ = ["dataset_digest", "model_digest"]


def __getattr__(name: str) -> object:
    # TensorFlow and NumPy are imported when a tensor turns up, not with the plugin.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cacheness_tensorflow import digests

    return getattr(digests, name)
