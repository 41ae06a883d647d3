"""Writing an original in a format, and reading what was written back in, for the comparison. Safest formats first.

What is read back here was written here a moment ago, from the user's own model: foreign bytes are for the sandbox.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from atoll.engine.errors import ModelRefused
from atoll.engine.packages.originals import Floats, Original, columns, optional, probabilities, quietly
from atoll.engine.packages.pipelines import teach_boosters
from atoll.engine.runtime.signature import Signature
from numpy.typing import NDArray

TORCH_EXPORT = "torch_export"  # as the runtime names it
OPSET = 15  # the highest that onnxmltools' converters of boosters know


@dataclass(frozen=True)
class Written:
    """``answers`` are those of the bytes, read in again."""

    format: str
    data: bytes
    answers: Callable[[Floats], NDArray[Any]]


def to_onnx(estimator: Any, inputs: int) -> bytes:
    """ONNX bytes of a fitted estimator or pipeline: one float32 input ``rows`` (n, inputs), zipmap off."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.base import is_classifier

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
            estimator, initial_types=[("rows", FloatTensorType([None, inputs]))], options=options or None,
            target_opset=teach_boosters() if _holds_booster(estimator) else None,
        )  # fmt: skip
    except Exception as error:  # skl2onnx raises many kinds
        raise ModelRefused(f"{type(estimator).__name__} cannot be converted to ONNX: {error}") from error
    return bytes(model.SerializeToString())


def _holds_booster(estimator: Any) -> bool:
    parts = [estimator, *getattr(estimator, "get_params", dict)().values()]
    return any(type(part).__module__.split(".")[0] in ("lightgbm", "xgboost") for part in parts)


def _sklearn_onnx(source: Original, rows: Floats) -> Written:
    try:
        data = quietly(to_onnx, source.model, source.signature.inputs)
    except ModelRefused as error:
        raise ModelRefused(f"onnx: {_short(error.message)}") from None
    return _onnx(data, source.signature)


def _skops(source: Original, rows: Floats) -> Written:
    skops = optional("skops.io", "skops", "the skops format")
    data = quietly(skops.dumps, source.model)
    foreign = [each for each in skops.get_untrusted_types(data=data) if not each.startswith("sklearn.")]
    if foreign:
        raise ModelRefused(f"skops: it holds types that no dock trusts: {', '.join(foreign[:5])}")
    again = quietly(skops.loads, data, trusted=skops.get_untrusted_types(data=data))
    run = again.predict_proba if source.signature.task == "classification" else again.predict
    return Written("skops", data, lambda x: columns(quietly(run, x)))


def _lightgbm_onnx(source: Original, rows: Floats) -> Written:
    return _booster_onnx(source, "convert_lightgbm")


def _xgboost_onnx(source: Original, rows: Floats) -> Written:
    return _booster_onnx(source, "convert_xgboost")


def _booster_onnx(source: Original, name: str) -> Written:
    tools = optional("onnxmltools", "models", "ONNX of boosters")
    kinds = importlib.import_module("onnxmltools.convert.common.data_types")
    types = [("rows", kinds.FloatTensorType([None, source.signature.inputs]))]
    options = {"zipmap": False} if name == "convert_lightgbm" else {}
    try:
        model = quietly(getattr(tools, name), source.model, initial_types=types, target_opset=OPSET, **options)
    except Exception as error:  # converters raise many kinds
        raise ModelRefused(f"onnx: {_short(str(error))}") from error
    return _onnx(model.SerializeToString(), source.signature)


def _lightgbm(source: Original, rows: Floats) -> Written:
    lightgbm = optional("lightgbm", "lightgbm", "a LightGBM model")
    text = getattr(source.model, "booster_", source.model).model_to_string()
    again = lightgbm.Booster(model_str=text)
    return Written("lightgbm", text.encode(), lambda x: _columns(again.predict(x), source.signature))


def _xgboost(source: Original, rows: Floats) -> Written:
    xgboost = optional("xgboost", "xgboost", "an XGBoost model")
    booster = source.model.get_booster() if hasattr(source.model, "get_booster") else source.model
    best = getattr(source.model, "best_iteration", None) if booster is not source.model else None
    data = bytes((booster if best is None else booster[: best + 1]).save_raw("ubj"))
    again = xgboost.Booster()
    again.load_model(bytearray(data))

    def answers(x: Floats) -> NDArray[Any]:
        return _columns(again.inplace_predict(x, validate_features=False), source.signature)

    return Written("xgboost", data, answers)


def _torch_onnx(source: Original, rows: Floats) -> Written:
    from atoll.engine.packages.torch_models import to_onnx_bytes

    return _onnx(to_onnx_bytes(source.model, rows), source.signature)


def _torch_export(source: Original, rows: Floats) -> Written:
    from atoll.engine.packages.torch_models import answers_of, to_program, without_code

    data = to_program(source.model, rows)
    return Written(TORCH_EXPORT, data, answers_of(without_code(io.BytesIO(data))))


def pickled(source: Original, rows: Floats) -> Written:
    """The last resort: code, which nobody but its publisher runs unasked."""
    import joblib

    target = io.BytesIO()
    joblib.dump(source.model, target)
    again = joblib.load(io.BytesIO(target.getvalue()))
    run = again.predict_proba if source.signature.task == "classification" else again.predict
    return Written("pickle", target.getvalue(), lambda x: columns(quietly(run, x)))


def _onnx_as_it_is(source: Original, rows: Floats) -> Written:
    return _onnx(source.model, source.signature)


def _onnx(data: bytes, signature: Signature) -> Written:
    from atoll.engine.runtime.onnx_model import OnnxModel

    return Written("onnx", data, OnnxModel(data, signature, threads=1).predict)


def _columns(values: Any, signature: Signature) -> NDArray[Any]:
    return probabilities(values, signature.outputs) if signature.task == "classification" else columns(values)


def _short(message: str) -> str:
    return " ".join(message.split())[:160]


Write = Callable[[Original, Floats], Written]
BY_LIBRARY: dict[str, tuple[Write, ...]] = {
    "onnx": (_onnx_as_it_is,),
    "sklearn": (_sklearn_onnx, _skops),
    "lightgbm": (_lightgbm_onnx, _lightgbm),
    "xgboost": (_xgboost_onnx, _xgboost),
    "torch": (_torch_onnx, _torch_export),
}
