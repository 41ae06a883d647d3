"""From one's own fitted scikit-learn estimator to ONNX."""

from __future__ import annotations

from typing import Any

from atoll.engine.errors import ModelRefused
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.base import is_classifier


def to_onnx(estimator: Any, inputs: int) -> bytes:
    """ONNX bytes of a fitted estimator or pipeline: one float32 input ``rows`` (n, inputs), zipmap off."""
    options: dict[int, dict[str, bool]] = {}
    if is_classifier(estimator):
        if not hasattr(estimator, "predict_proba"):
            raise ModelRefused(
                f"{type(estimator).__name__} gives no probabilities",
                hint="wrap it in CalibratedClassifierCV or choose a classifier with predict_proba",
            )
        options = {id(estimator): {"zipmap": False}}
    try:
        model = convert_sklearn(
            estimator, initial_types=[("rows", FloatTensorType([None, inputs]))], options=options or None
        )
    except Exception as error:  # skl2onnx raises many kinds
        raise ModelRefused(f"{type(estimator).__name__} cannot be converted to ONNX: {error}") from error
    return bytes(model.SerializeToString())
