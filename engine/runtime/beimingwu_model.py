"""The node's own learnwares in Beimingwu's format, inside the worker: the class that ``learnware.yaml`` names, of the
files beside it. The working directory is their folder, and nothing in it has been touched before the worker was held.
"""

from __future__ import annotations

import ast
import importlib.util
import math
import operator
import os
import re
import sys
import tempfile
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
from atoll.engine.encoding import unpack
from atoll.engine.errors import ModelError, ModelRefused
from atoll.engine.runtime import base_model
from atoll.engine.runtime.frames import printable
from atoll.engine.runtime.signature import Signature
from numpy.typing import NDArray

MAX_ENTRY = 64 << 10
SUMS = 1e-3  # how far from 1 the numbers of a row may add up to be probabilities
tempfile.gettempdir()  # tried out once, by writing: a worker may not


class Entry(msgspec.Struct, frozen=True):
    """What to make of the files: a class, the .py file that defines it (relative), and what it is made with, as a
    Python literal: it tells tuples from lists."""

    class_name: str
    module_path: str
    kwargs: str = "{}"


class BeimingwuModel:
    """An instance of the class; raises ModelRefused for what cannot be made and ModelError for what fails."""

    def __init__(self, data: bytes, signature: Signature, threads: int) -> None:
        """``data`` is a packed :class:`Entry`. Threads are bounded by the sandbox alone: what the files import is only
        known when it is imported."""
        entry = unpack(data, Entry, limit=MAX_ENTRY)
        self._signature = signature
        try:
            self._model = _instance(entry, os.getcwd())
            self._predict = self._model.predict
            shape = getattr(self._model, "input_shape", None)
        except MemoryError:
            raise
        except Exception as error:  # whatever the code raises
            raise ModelRefused(f"the learnware does not load: {_words(error)}") from None
        self._shape = _shape(shape, signature.inputs)

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (n, inputs), which the model gets in its own shape, to float32 (n, outputs)."""
        try:
            answers = _plain(self._predict(np.array(rows, np.float32).reshape(len(rows), *self._shape)))
        except MemoryError:
            raise
        except Exception as error:  # as above
            raise ModelError(f"the model failed: {_words(error)}") from None
        if len(answers) != len(rows):
            raise ModelError(f"the model gave {len(answers)} answers to {len(rows)} rows")
        if self._signature.task == "classification":
            return probabilities(answers, self._signature.outputs)
        return answers.astype(np.float32)


def probabilities(answers: NDArray[np.float64], classes: int) -> NDArray[np.float32]:
    """float32 (n, classes) of labels (n, 1), which become certain, or of (n, classes): rows that are probabilities stay
    as they are, all others are taken for logits."""
    if answers.shape[1] == 1 and classes > 1:
        labels = answers[:, 0]
        places = np.where(np.isfinite(labels), labels, -1.0).round().astype(np.int64)
        if (places != labels).any() or (places < 0).any() or (places >= classes).any():
            raise ModelError(f"the model's labels are not the numbers 0 to {classes - 1} of its classes")
        return np.eye(classes, dtype=np.float32)[places]
    certain = (answers >= 0).all(axis=1) & (np.abs(answers.sum(axis=1) - 1.0) <= SUMS)
    with np.errstate(invalid="ignore", over="ignore"):
        powers = np.exp(answers - answers.max(axis=1, keepdims=True))
        soft = powers / powers.sum(axis=1, keepdims=True)
    return np.where(certain[:, None], answers, soft).astype(np.float32)


def _instance(entry: Entry, folder: str) -> Any:
    """As Beimingwu makes it: the file is a package where it is ``__init__.py``, so that what lies beside it can be
    imported relatively; and what it defines is in ``__main__`` too, where pickles look for it."""
    path = os.path.realpath(os.path.join(folder, entry.module_path))
    if not path.endswith(".py") or os.path.commonpath((path, os.path.realpath(folder))) != os.path.realpath(folder):
        raise ModelRefused("its code must be a .py file of its own")
    sys.path.append(folder)
    base_model.provide()
    name = re.sub(r"\W", "_", "learnware_" + entry.module_path.removesuffix(".py"))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelRefused(f"{entry.module_path} is no module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    _show_to_pickles(module)
    return getattr(module, entry.class_name)(**ast.literal_eval(entry.kwargs))


def _show_to_pickles(module: ModuleType) -> None:
    main = vars(sys.modules["__main__"])
    main.update({name: value for name, value in vars(module).items() if not name.startswith("__")})


def _shape(shape: Any, inputs: int) -> tuple[int, ...]:
    """Of one row; flat where the model does not say it in whole numbers."""
    try:
        found = tuple(map(operator.index, shape if isinstance(shape, tuple | list) else (shape,)))
    except TypeError:
        return (inputs,)
    if min(found, default=0) < 1 or math.prod(found) != inputs:
        raise ModelRefused(f"the model's input_shape is {found}, the manifest says {inputs} numbers a row")
    return found


def _plain(values: Any) -> NDArray[np.float64]:
    """(n, k) of an array, a list or a torch tensor."""
    if callable(getattr(values, "detach", None)):
        values = values.detach().cpu()
    found = np.asarray(values, dtype=np.float64)
    return found.reshape(len(found), -1)


def _words(error: Exception) -> str:
    return printable(f"{type(error).__name__}: {error}", 300)
