"""The ONNX format, inside the model process: what is refused, and how a session is run.

ONNX is data, not code; what could still reach outside (external data, custom operators) is refused before a
session is made.
"""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
from atoll.engine.errors import ModelError, ModelRefused
from atoll.engine.runtime.frames import printable
from atoll.engine.runtime.signature import Signature
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto

DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}


class OnnxModel:
    """A loaded model; raises ModelRefused for what is not run and ModelError for what fails."""

    def __init__(self, data: bytes, signature: Signature, threads: int) -> None:
        _inspect(data)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        options.log_severity_level = 4
        try:
            self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no common base for its errors
            raise ModelRefused(f"onnxruntime does not load the model: {printable(str(error), 300)}") from None
        self._signature = signature
        self._input = self._check_input()
        self._output = self._choose_output()

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (n, inputs) to float32 (n, outputs)."""
        try:
            (values,) = self._session.run([self._output], {self._input: rows})
        except Exception as error:  # as above
            raise ModelError(f"the model failed: {printable(str(error), 300)}") from None
        found = np.asarray(values, dtype=np.float32)
        return found.reshape(len(rows), -1) if found.ndim == 1 else found

    def _check_input(self) -> str:
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)":
            raise ModelRefused("the model must take one float32 tensor")
        shape = inputs[0].shape
        width = shape[1] if len(shape) == 2 else None
        if len(shape) != 2 or (isinstance(width, int) and width != self._signature.inputs):
            raise ModelRefused(f"the model takes {shape}, the manifest says (n, {self._signature.inputs})")
        return str(inputs[0].name)

    def _choose_output(self) -> str:
        floats = [o for o in self._session.get_outputs() if o.type in ("tensor(float)", "tensor(double)")]
        if not floats:
            raise ModelRefused("the model has no float output", hint="convert classifiers with zipmap off")
        return str(floats[-1].name)


def _inspect(data: bytes) -> None:
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:  # protobuf's DecodeError lives in a private module
        raise ModelRefused("the model is not ONNX") from None
    if not model.graph.node or not model.opset_import:
        raise ModelRefused("the model is not ONNX")
    used = {opset.domain for opset in model.opset_import}
    if used - DOMAINS or model.functions:
        raise ModelRefused(f"operators of domain {printable(', '.join(sorted(used - DOMAINS)))} are not run")
    _inspect_graph(model.graph, depth=8)


def _inspect_graph(graph: GraphProto, depth: int) -> None:
    if depth == 0:
        raise ModelRefused("the model nests graphs too deeply")
    tensors = list(graph.initializer)
    for node in graph.node:
        if node.domain not in DOMAINS:
            raise ModelRefused(f"operator {printable(node.op_type, 80)} of a custom domain is not run")
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    _inspect_graph(inner, depth - 1)
    if any(tensor.data_location == TensorProto.EXTERNAL or tensor.external_data for tensor in tensors):
        raise ModelRefused("the model keeps data outside its file", hint="save it as one file")
