"""Beimingwu packages as its users make them, written here file by file."""

import io
import json
import sys
import types
import zipfile

import numpy as np
import pytest

CODE = """import numpy as np
from learnware.model import BaseModel


class Model(BaseModel):
    def __init__(self):
        super().__init__(input_shape=(4,), output_shape=(1,))

    def predict(self, X):
        return (np.asarray(X).sum(axis=1) > 0).astype(int)
"""
YAML = """name: Iris
id: '00000123'
model:
  class_name: Model
  kwargs: {}
stat_specifications:
  - module_path: learnware.specification
    class_name: RKMETableSpecification
    file_name: stat.json
    kwargs: {}
semantic_specification:
  file_name: semantic_specification.json
"""
NAMES = ("sepal length", "sepal width", "petal length", "petal width")


def spec_json(kind="RKMETableSpecification", shape=(12, 4), seed=0, **changes):
    """A statistical specification; ``changes`` are other values, None leaves one out."""
    points = 10.0 * np.random.default_rng(seed).standard_normal(shape)
    tree = {"z": points.tolist(), "beta": [1 / shape[0]] * shape[0], "type": kind}
    if kind == "RKMEImageSpecification":
        config = {"k": 2, "mu": 0, "sigma": None, "net_width": 128, "net_depth": 3}
        tree |= {"RKME_IMAGE_VERSION": 1, "msg": None, "n_models": 16, "model_config": config}
    else:
        tree |= {"gamma": 0.1, "num_points": 150}
    tree |= {"language": ["en"]} if kind == "RKMETextSpecification" else {}
    tree = {key: value for key, value in (tree | changes).items() if value is not None}
    return json.dumps(tree, separators=(",", ":")).encode()


def words_json(names=NAMES, classes=("small", "large"), **changes):
    """A semantic specification of a table classifier; ``changes`` are other values by key, None leaves one out."""
    tree = {
        "Data": {"Type": "Class", "Values": ["Table"]},
        "Task": {"Type": "Class", "Values": ["Classification"]},
        "Library": {"Type": "Class", "Values": ["Scikit-learn"]},
        "Model": {"Type": "Optional", "Values": ["Others"]},
        "Scenario": {"Type": "Tag", "Values": ["Nature", "Education"]},
        "License": {"Type": "Class", "Values": ["MIT"]},
        "Name": {"Type": "String", "Values": "Iris by size"},
        "Description": {"Type": "String", "Values": "Large or small irises."},
        "Input": {"Dimension": len(names), "Description": {str(i): name for i, name in enumerate(names)}},
        "Output": {"Dimension": len(classes), "Description": {str(i): name for i, name in enumerate(classes)}},
    }
    for key, value in changes.items():
        tree[key] = value if isinstance(value, dict) else tree[key] | {"Values": value}
    return json.dumps({key: value for key, value in tree.items() if value != {}}).encode()


def files_of(**changes):
    """The files of a package by name, dots written as two underscores; None leaves one out."""
    files = {
        "learnware.yaml": YAML.encode(), "__init__.py": CODE.encode(), "stat.json": spec_json(),
        "semantic_specification.json": words_json(), "requirements.txt": b"numpy>=1.20\nlearnware==0.3.2\n",
    }  # fmt: skip
    return {name: data for name, data in (files | changes).items() if data is not None}


def zipped(files, top="", method=zipfile.ZIP_DEFLATED):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(top + name, (2023, 1, 2, 3, 4, 6)), data, compress_type=method)
    return target


@pytest.fixture
def owner():
    """What every import is told: who owns it, when it is made, and salts."""
    salts = iter(bytes([number]) * 16 for number in range(100))
    return {"owner": "12D3KooWowner", "created_at": 1_700_000_000_000, "salt": lambda: next(salts)}


@pytest.fixture
def base_model(monkeypatch):
    """What an exported module imports of ``learnware``, which is not installed here."""

    class BaseModel:
        def __init__(self, input_shape, output_shape):
            self.input_shape, self.output_shape = input_shape, output_shape

    learnware, model = types.ModuleType("learnware"), types.ModuleType("learnware.model")
    model.BaseModel = BaseModel
    monkeypatch.setitem(sys.modules, "learnware", learnware)
    monkeypatch.setitem(sys.modules, "learnware.model", model)
