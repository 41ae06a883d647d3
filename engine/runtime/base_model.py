"""``learnware.model.BaseModel``, from which models in Beimingwu's packages derive, where that package is not at hand.

Written from its interface: models are handed shapes and asked to predict; nothing else of ``learnware`` is here.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any


class BaseModel:
    """``input_shape`` and ``output_shape`` are of one row and its answer."""

    def __init__(self, input_shape: Any, output_shape: Any) -> None:
        self.input_shape = input_shape
        self.output_shape = output_shape

    def predict(self, X: Any) -> Any:
        """The answers to rows; every model has its own."""
        raise NotImplementedError

    def fit(self, X: Any, y: Any) -> None:
        """Nothing: models are not trained here."""

    def finetune(self, X: Any, y: Any) -> None:
        """Nothing: as for :meth:`fit`."""

    def get_model(self) -> Any:
        """What lies beneath, where a model says so."""


def provide() -> None:
    """From now on ``from learnware.model import BaseModel`` works in this process; nothing where it does already."""
    if importlib.util.find_spec("learnware") is not None:
        return
    package, model, base = (ModuleType(name) for name in ("learnware", "learnware.model", "learnware.model.base"))
    for module in (package, model, base):
        module.__dict__["__path__"] = []  # a package: what is missing in it is named as such
        sys.modules[module.__name__] = module
    package.__dict__["model"], model.__dict__["base"] = model, base
    for module in (model, base):
        module.__dict__["BaseModel"] = BaseModel
