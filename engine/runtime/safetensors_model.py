"""Weights in safetensors with an architecture of ours, inside the worker: a multilayer perceptron.

The file's metadata says ``atoll.architecture = mlp`` and ``atoll.activation`` (``relu``, ``tanh``, ``gelu``); the
tensors are ``layers.K.weight`` (out, in) and ``layers.K.bias`` (out), K from 0. Classes leave through a softmax.
"""

from __future__ import annotations

import json

import numpy as np
import safetensors.torch
import torch
from atoll.engine.errors import ModelError, ModelRefused
from atoll.engine.runtime.frames import printable
from atoll.engine.runtime.signature import Signature
from numpy.typing import NDArray

ACTIVATIONS: dict[str, torch.nn.Module] = {
    "relu": torch.nn.ReLU(),
    "tanh": torch.nn.Tanh(),
    "gelu": torch.nn.GELU(),
}
MAX_LAYERS = 64
Layers = list[tuple[torch.Tensor, torch.Tensor]]  # weight (out, in), bias (out,)


class SafetensorsModel:
    """A loaded perceptron; raises ModelRefused for what is not run and ModelError for what fails."""

    def __init__(self, data: bytes, signature: Signature, threads: int) -> None:
        torch.set_num_threads(threads)
        self._activation, self._layers = read_perceptron(data)
        _check_widths(self._layers, signature)
        self._classes = signature.task == "classification"

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (n, inputs) to float32 (n, outputs)."""
        try:
            with torch.inference_mode():
                values = torch.from_numpy(np.array(rows))
                for place, (weight, bias) in enumerate(self._layers):
                    values = torch.nn.functional.linear(self._activation(values) if place else values, weight, bias)
                found = torch.softmax(values, dim=-1) if self._classes else values
        except RuntimeError as error:
            raise ModelError(f"the model failed: {printable(str(error), 300)}") from None
        return np.asarray(found.numpy(), dtype=np.float32)


def read_perceptron(data: bytes) -> tuple[torch.nn.Module, Layers]:
    """The activation between layers, and the layers; ModelRefused for what is no such file."""
    try:
        size = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + size]).get("__metadata__", {})
        tensors = safetensors.torch.load(data)
    except Exception as error:  # SafetensorError, ValueError, AttributeError ...
        raise ModelRefused(f"safetensors does not load the model: {printable(str(error), 300)}") from None
    activation = metadata.get("atoll.activation", "relu")
    if metadata.get("atoll.architecture") != "mlp" or activation not in ACTIVATIONS:
        raise ModelRefused(
            "the weights name no architecture that is run",
            hint="metadata: atoll.architecture=mlp, atoll.activation",
        )
    count = len(tensors) // 2
    names = {f"layers.{place}.{kind}" for place in range(count) for kind in ("weight", "bias")}
    if set(tensors) != names or not 1 <= count <= MAX_LAYERS:
        raise ModelRefused("the tensors are not layers.K.weight and layers.K.bias, K from 0")
    layers = [(tensors[f"layers.{k}.weight"].float(), tensors[f"layers.{k}.bias"].float()) for k in range(count)]
    return ACTIVATIONS[activation], layers


def _check_widths(layers: Layers, signature: Signature) -> None:
    """ModelRefused unless the sizes fit each other and the signature."""
    width = signature.inputs
    for place, (weight, bias) in enumerate(layers):
        if weight.ndim != 2 or weight.shape[1] != width or bias.shape != weight.shape[:1]:
            raise ModelRefused(f"layer {place} does not take {width} columns")
        width = weight.shape[0]
    if width != signature.outputs:
        raise ModelRefused(f"the model gives {width} columns, the manifest says {signature.outputs}")
