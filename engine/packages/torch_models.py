"""torch modules: as functions of rows, as ONNX, and as programs of ``torch.export``. The one module here with torch."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, Any

import numpy as np
import torch
from atoll.engine.errors import ModelRefused
from atoll.engine.packages.originals import Task, optional, quietly
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Answers = Callable[[Floats], NDArray[Any]]
SUM = 1e-3


class _Probabilities(torch.nn.Module):
    """Class probabilities of a module that gives scores: softmax, or of one score the logistic function."""

    def __init__(self, scores: torch.nn.Module, kind: str) -> None:
        super().__init__()
        self.scores, self.kind = scores, kind

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        found = self.scores(rows)
        if self.kind == "softmax":
            return torch.softmax(found, dim=-1)
        one = found.reshape(-1, 1)
        second = torch.sigmoid(one) if self.kind == "logistic" else one
        return torch.cat([1.0 - second, second], dim=1)


def as_module(
    model: torch.nn.Module, rows: Floats, task: Task | None
) -> tuple[torch.nn.Module, Answers, Task, tuple[str, ...]]:
    """The module as it is published, its answers, its task, and notes on what was added or taken for granted.

    It takes float32 (n, inputs). Outputs that are probabilities already make it a classifier; a ``task`` of
    classification for one whose outputs are scores puts a softmax (of one score, the logistic function) at its end.
    """
    model = model.cpu().eval()
    try:
        first = answers_of(model)(rows)
    except Exception as error:  # whatever a module of the user's raises
        raise ModelRefused(f"the torch module does not take float32 rows {rows.shape}: {error}") from error
    if first.ndim > 2:
        raise ModelRefused(f"the torch module answers with shape {first.shape}, not one row for a row")
    wide = first.ndim == 2 and first.shape[1] > 1
    ready = bool((first >= 0).all() and np.abs(first.sum(axis=1) - 1.0).max() < SUM) if wide else False
    if task is None:
        task = "classification" if ready else "regression"
    if task == "regression":
        note = "taken as a regressor: its outputs are no probabilities (for a classifier, name its classes)"
        return model, _in_columns(answers_of(model)), task, (note,) if wide else ()
    if ready:
        return model, answers_of(model), task, ()
    inside = bool(((first >= 0) & (first <= 1)).all())
    kind = "softmax" if wide else "complement" if inside else "logistic"
    module = _Probabilities(model, kind)
    return module, answers_of(module), task, (f"{kind} was put at its end, to give probabilities of classes",)


def answers_of(module: torch.nn.Module) -> Answers:
    """float32 (n, inputs) to what the module gives, without gradients."""

    def answers(rows: Floats) -> NDArray[Any]:
        with torch.inference_mode():
            return np.asarray(module(torch.from_numpy(np.array(rows, np.float32))).numpy())

    return answers


def to_onnx_bytes(module: torch.nn.Module, rows: Floats) -> bytes:
    """ONNX by tracing; ModelRefused where an operator has no counterpart."""
    target = io.BytesIO()
    example = (torch.from_numpy(np.array(rows[:2], np.float32)),)
    named = {"input_names": ["rows"], "output_names": ["out"], "dynamic_axes": {"rows": {0: "n"}, "out": {0: "n"}}}
    try:  # the traced exporter: the newer one needs onnxscript
        quietly(torch.onnx.export, module, example, target, dynamo=False, opset_version=17, **named)
    except Exception as error:  # the exporter raises anything
        raise ModelRefused(f"onnx: {' '.join(str(error).split())[:160]}") from error
    return target.getvalue()


def to_program(module: torch.nn.Module, rows: Floats) -> bytes:
    """A program of ``torch.export`` for any number of rows."""
    target = io.BytesIO()
    example = (torch.from_numpy(np.array(np.resize(rows, (3, rows.shape[1])), np.float32)),)
    try:
        any_rows = ({0: torch.export.Dim("n", min=1)},)
        torch.export.save(quietly(torch.export.export, module, example, dynamic_shapes=any_rows), target)
    except Exception as error:  # the same
        raise ModelRefused(f"torch.export: {' '.join(str(error).split())[:160]}") from error
    return target.getvalue()


def without_code(source: IO[bytes]) -> torch.nn.Module:
    """The module of a program of ``torch.export``: a graph of operators."""
    try:
        module: torch.nn.Module = quietly(torch.export.load, source).module(check_guards=False)
    except Exception as error:  # the same
        raise ModelRefused(f"torch does not load the program: {error}") from error
    for name in ("train", "eval"):  # it knows one mode only, and would refuse to be asked
        setattr(module, name, lambda mode=False: module)
    return module


def perceptron(data: bytes) -> torch.nn.Module:
    """The module of a safetensors file of the architecture that is run (engine.runtime.safetensors_model)."""
    optional("safetensors.torch", "models", "a safetensors file")
    from atoll.engine.runtime.safetensors_model import read_perceptron

    try:
        activation, weights = read_perceptron(data)
    except ModelRefused as error:
        raise ModelRefused(
            f"weights without an architecture that is known here: {error.message}",
            hint="load them into your module and save that with torch.export.save",
        ) from None
    layers: list[torch.nn.Module] = []
    for weight, bias in weights:
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": weight, "bias": bias})
        layers += [activation, linear] if layers else [linear]
    return torch.nn.Sequential(*layers)


def _in_columns(answers: Answers) -> Answers:
    def wide(rows: Floats) -> NDArray[Any]:
        found = answers(rows)
        return found.reshape(len(found), -1)

    return wide
