# SPDX-License-Identifier: MIT
"""Payloads that anybody may have written fail at worst."""

from types import MappingProxyType

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given
from hypothesis import strategies as st

from cacheness.compressors.none import NoneCompressor
from cacheness.handlers.base import HandlerContext
from cacheness_tensorflow.string_tensor import StringTensorHandler
from cacheness_tensorflow.tarball import read_manifest, slice_of
from cacheness_tensorflow.tensor import TensorFlowHandler
from cacheness_tensorflow.variable import VariableHandler


class Context(HandlerContext):
    """What the handlers of plain tensors ask for."""

    options = MappingProxyType({})
    compressor = NoneCompressor()
    verified = False
    allow_pickle = False

    def put_part(self, obj):
        raise TypeError("these have no parts")

    get_part = part_handler = require_verified = put_part

    def require_signature(self):
        raise TypeError("these need none")


VALUES = [
    (TensorFlowHandler(), lambda: tf.constant([[1.0, 2.0]])),
    (TensorFlowHandler(), lambda: tf.cast([1, 0], tf.bool)),
    (StringTensorHandler(), lambda: tf.constant(["abc", "", "d"])),
    (VariableHandler(), lambda: tf.Variable([1, 2])),
]
METADATA = st.dictionaries(
    st.sampled_from(["tensor", "storage_format", "dtype", "kind", "strings", "variable"]),
    st.none() | st.text(max_size=9) | st.sampled_from(["bfloat16", "qint8", "string", "b2nd"]),
)


@given(
    case=st.integers(0, len(VALUES) - 1),
    at=st.integers(0, 400),
    byte=st.integers(0, 255),
    cut=st.integers(0, 400),
    claimed=METADATA,
)
@example(case=0, at=0, byte=147, cut=400, claimed={"tensor": "string"})
def test_changed_bytes_and_metadata_give_a_tensor_or_an_exception(case, at, byte, cut, claimed):
    handler, make = VALUES[case]
    buffers, metadata = handler.dumps(make(), Context())
    payload = bytearray(b"".join(buffers))
    payload[at : at + 1] = bytes([byte])

    try:
        value = handler.loads(memoryview(payload[:cut]), {**metadata, **claimed}, Context())
    except Exception:
        return
    assert isinstance(value, (tf.Tensor, tf.Variable))
    np.asarray(tf.reshape(value, [-1]))


@pytest.mark.parametrize(
    "span", [None, [0], [0, 99], [-1, 3], [5, -1], [2**70, 1], ["0", 1], [True, 2], [0.0, 1]]
)
def test_a_span_that_is_none_is_refused(span):
    with pytest.raises(ValueError, match="span|outside"):
        slice_of(memoryview(b"0123456789"), span)


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"7", b"[" * 100_000, b"\xff"])
def test_a_manifest_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="not a tar's manifest"):
        read_manifest(memoryview(text), [0, len(text)])
