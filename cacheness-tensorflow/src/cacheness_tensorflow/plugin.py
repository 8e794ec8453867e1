# SPDX-License-Identifier: MIT
"""What the package registers with cacheness."""

from __future__ import annotations

from cacheness import HandlerSpec, hookimpl

cacheness_api = 1

_HERE = "cacheness_tensorflow"
_PRIORITY = 100

# A type is looked up in modules that are imported already. `tensorflow.data` and the like
# are attributes of `tensorflow`, not modules, so such types go by where they are defined.
_DATASET = "tensorflow.python.data.ops.dataset_ops.DatasetV2"
_TRACKABLE = "tensorflow.python.trackable.autotrackable.AutoTrackable"


@hookimpl
def cacheness_handlers() -> list[HandlerSpec]:
    """Name the handlers; their modules are imported when a tensor or a model turns up."""
    return [
        _spec("tensorflow", "tensor:TensorFlowHandler", "tensorflow.Tensor"),
        _spec("tensorflow_string", "string_tensor:StringTensorHandler", "tensorflow.Tensor"),
        _spec("tensorflow_variable", "variable:VariableHandler", "tensorflow.Variable"),
        _spec("tensorflow_ragged", "composite:RaggedTensorHandler", "tensorflow.RaggedTensor"),
        _spec("tensorflow_sparse", "composite:SparseTensorHandler", "tensorflow.SparseTensor"),
        _spec("tensorflow_slices", "composite:IndexedSlicesHandler", "tensorflow.IndexedSlices"),
        _spec("tensorflow_dataset", "dataset:DatasetHandler", _DATASET),
        _spec("tensorflow_saved_model", "saved_model:SavedModelHandler", _TRACKABLE),
        _spec("keras_model", "model:KerasModelHandler", "keras.Model"),
        _spec("keras_weights", "weights:KerasWeightsHandler", "keras.Model"),
        _spec(
            "tensorflow_refused",
            "refusal:RefusalHandler",
            "tensorflow.TensorArray",
            "keras.KerasTensor",
        ),
    ]


def _spec(name: str, target: str, *types: str) -> HandlerSpec:
    return HandlerSpec(name, f"{_HERE}.{target}", types=types, priority=_PRIORITY)
