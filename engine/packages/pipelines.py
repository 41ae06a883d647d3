"""Pipelines that end in LightGBM or XGBoost: teaching skl2onnx the converters that onnxmltools has for them."""

from __future__ import annotations

import importlib
import sys
from typing import Any

OPSETS = {"": 15, "ai.onnx.ml": 3}  # the highest that onnxmltools' converters of boosters know
_CLASSIFIER: dict[str, Any] = {"zipmap": [True, False, "columns"], "nocl": [True, False]}
# library, class, the name its converter goes by, options
_KNOWN: tuple[tuple[str, str, str, dict[str, Any] | None], ...] = (
    ("lightgbm", "LGBMClassifier", "LightGbmLGBMClassifier", _CLASSIFIER),
    ("lightgbm", "LGBMRegressor", "LightGbmLGBMRegressor", {"split": None}),
    ("xgboost", "XGBClassifier", "XGBoostXGBClassifier", _CLASSIFIER),
    ("xgboost", "XGBRegressor", "XGBoostXGBRegressor", None),
)
_CONVERTERS = {"lightgbm": ("LightGbm", "convert_lightgbm"), "xgboost": ("XGBoost", "convert_xgboost")}


def teach_boosters() -> dict[str, int] | None:
    """Register the boosters of the libraries that are loaded; the operator sets to ask for, None if there are none.

    Without onnxmltools nothing is registered, and such a pipeline is refused by skl2onnx itself.
    """
    from skl2onnx import update_registered_converter
    from skl2onnx.common import shape_calculator as shapes

    taught = False
    for library, kind, name, options in _KNOWN:
        estimator = getattr(sys.modules.get(library), kind, None)
        if estimator is None:
            continue
        module, function = _CONVERTERS[library]
        try:
            tools = importlib.import_module(f"onnxmltools.convert.{library}.operator_converters.{module}")
        except ImportError:
            return None
        shape = (
            shapes.calculate_linear_classifier_output_shapes
            if kind.endswith("Classifier")
            else shapes.calculate_linear_regressor_output_shapes
        )
        update_registered_converter(estimator, name, shape, getattr(tools, function), options=options)
        taught = True
    return OPSETS if taught else None
