"""The code that runs a model of ours inside a Beimingwu package: one small module for each format.

Written, never run here. It needs the format's own library, ``learnware`` and numpy.
"""

from __future__ import annotations

from typing import NamedTuple

from atoll.engine.errors import PackageError
from atoll.engine.naming import listed
from atoll.engine.runtime.signature import Signature
from atoll.engine.runtime.trusted import TRUSTED

TEMPLATE = '''"""A model exported from Atoll: {inputs} numbers a row in, {outputs} out."""

import os

import numpy as np
from learnware.model import BaseModel

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "{file}")


class Model(BaseModel):
    def __init__(self):
        super().__init__(input_shape=({inputs},), output_shape=({outputs},))
{load}

    def predict(self, X):
        if hasattr(X, "detach"):
            X = X.detach().cpu().numpy()
        rows = np.ascontiguousarray(X, dtype=np.float32)
{run}
        values = np.asarray(values, dtype=np.float32)
        if values.ndim == 1 and {outputs} == 2:
            values = np.stack([1.0 - values, values], axis=1)
        return values.reshape(len(rows), {outputs})
'''


class Program(NamedTuple):
    """How a format is loaded and run, what its file is called, and which libraries it needs."""

    file: str
    requirements: tuple[str, ...]
    load: tuple[str, ...]
    run: tuple[str, ...]


PROGRAMS: dict[str, Program] = {
    "onnx": Program(
        "model.onnx",
        ("onnxruntime>=1.20",),
        (
            "import onnxruntime",
            'self.session = onnxruntime.InferenceSession(FILE, providers=["CPUExecutionProvider"])',
            "self.input = self.session.get_inputs()[0].name",
            'kinds = ("tensor(float)", "tensor(double)")',
            "self.output = [each.name for each in self.session.get_outputs() if each.type in kinds][-1]",
        ),
        ("(values,) = self.session.run([self.output], {self.input: rows})",),
    ),
    "skops": Program(
        "model.skops",
        ("skops>=0.13", "scikit-learn"),
        (
            "import skops.io",
            f"trusted = {sorted(TRUSTED)!r}",  # no more than here: a file must not say what is to be trusted in it
            "model = skops.io.load(FILE, trusted=trusted)",
            "self.answer = model.METHOD",
        ),
        ("values = self.answer(rows)",),
    ),
    "lightgbm": Program(
        "model.txt",
        ("lightgbm>=4.5",),
        ("import lightgbm", "self.booster = lightgbm.Booster(model_file=FILE)"),
        ("values = self.booster.predict(rows)",),
    ),
    "xgboost": Program(
        "model.ubj",
        ("xgboost>=3.0",),
        (
            "import xgboost",
            "self.booster = xgboost.Booster()",
            'with open(FILE, "rb") as file:',
            "    self.booster.load_model(bytearray(file.read()))",
        ),
        ("values = self.booster.inplace_predict(rows, validate_features=False)",),
    ),
    "torch_export": Program(
        "model.pt2",
        ("torch>=2.13",),
        ("import torch", "self.module = torch.export.load(FILE).module()"),
        ("import torch", "with torch.no_grad():", "    values = self.module(torch.from_numpy(rows)).numpy()"),
    ),
    "pickle": Program(
        "model.pkl",
        ("joblib>=1.4", "scikit-learn"),
        ("import joblib", "self.answer = joblib.load(FILE).METHOD"),
        ("values = self.answer(rows)",),
    ),
    "python": Program(
        "atoll_model.py",
        ("numpy",),
        (
            "import importlib.util",
            'spec = importlib.util.spec_from_file_location("atoll_model", FILE)',
            "module = importlib.util.module_from_spec(spec)",
            "spec.loader.exec_module(module)",
            "self.answer = module.predict",
        ),
        ("values = self.answer(rows)",),
    ),
}


def program(format_: str) -> Program:
    """How a format runs there; PackageError for one that needs more than its library."""
    if format_ not in PROGRAMS:
        raise PackageError(
            f"a model in {format_[:20]} cannot be exported: outside of Atoll nothing runs it",
            hint=f"convert it first; what can be: {listed(PROGRAMS)}",
        )
    return PROGRAMS[format_]


def code(format_: str, signature: Signature) -> bytes:
    """The package's ``__init__.py``, a class Model for BaseModel."""
    chosen, inputs, outputs = program(format_), signature.inputs, signature.outputs
    method = "predict_proba" if signature.task == "classification" else "predict"
    load, run = ("\n".join(f"        {line}" for line in lines) for lines in (chosen.load, chosen.run))
    load = load.replace("METHOD", method)
    return TEMPLATE.format(inputs=inputs, outputs=outputs, file=chosen.file, load=load, run=run).encode()
