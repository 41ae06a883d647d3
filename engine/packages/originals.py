"""One's own fitted model, whatever its library, as one thing: what it is called, takes, gives, and answers."""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from atoll.engine.errors import ModelRefused
from atoll.engine.runtime.signature import Signature
from atoll.engine.tables import Table
from numpy.typing import NDArray

Task = Literal["classification", "regression"]
Library = Literal["onnx", "sklearn", "lightgbm", "xgboost", "torch"]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Original:
    """``answers`` maps float32 (n, inputs) to (n, outputs); ``notes`` are what people should know of it."""

    name: str
    library: Library
    model: Any
    signature: Signature
    class_names: tuple[str, ...]
    answers: Callable[[Floats], NDArray[Any]]
    notes: tuple[str, ...] = ()
    hint: str | None = None


def original(model: Any, rows: Floats, task: Task | None, class_names: tuple[str, ...]) -> Original:
    """Recognise a model by its type; ModelRefused for what is none, or is not fitted to so many columns."""
    if isinstance(model, bytes | bytearray):
        return _onnx(bytes(model), rows, task, class_names)
    roots = {each.__module__.split(".")[0] for each in type(model).__mro__}
    if "torch" in roots:
        return _torch(model, rows, task, class_names)
    if "lightgbm" in roots and hasattr(model, "model_to_string"):
        return _lightgbm_booster(model, rows, class_names)
    if "xgboost" in roots and hasattr(model, "save_raw"):
        return _xgboost_booster(model, rows, class_names)
    if hasattr(model, "predict") and hasattr(model, "get_params"):
        library: Library = "lightgbm" if "lightgbm" in roots else "xgboost" if "xgboost" in roots else "sklearn"
        return _estimator(model, library, rows, class_names)
    raise ModelRefused(
        f"{type(model).__name__} is no model that is known here",
        hint="give a scikit-learn estimator, a LightGBM, XGBoost or torch model, or ONNX",
    )


def aligned(model: Any, rows: Any) -> Table:
    """``rows`` with their columns in the order that the model was fitted to, where it knows their names."""
    table = Table.of(rows)
    names = getattr(model, "feature_names_in_", None)
    if names is None or not table.columns:
        return table
    wanted = tuple(map(str, names))
    return Table(table.select(wanted), wanted)


def optional(module: str, extra: str, what: str) -> Any:
    """An optional library, or ModelRefused that says what to install."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ModelRefused(
            f"{what} needs {module.split('.')[0]}, which is not installed", hint=f"pip install 'atoll[{extra}]'"
        ) from None


def quietly(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call without the warnings of libraries about names, versions and tracing, which the comparison makes idle."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **named)


def label(value: object) -> str:
    """A class as people write it: whole numbers without a point."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def columns(values: Any) -> NDArray[Any]:
    found = np.asarray(values)
    return found.reshape(len(found), -1)


def probabilities(values: Any, classes: int) -> NDArray[Any]:
    """(n, classes); of two classes a booster gives the second one's probability only, (n,)."""
    found = np.asarray(values)
    return np.stack([1.0 - found, found], axis=1) if found.ndim == 1 and classes == 2 else columns(found)


def _estimator(model: Any, library: Library, rows: Floats, names: tuple[str, ...]) -> Original:
    from sklearn.base import is_classifier, is_regressor

    kind = type(model).__name__
    width = getattr(model, "n_features_in_", rows.shape[1])
    if width != rows.shape[1]:
        raise ModelRefused(f"{kind} takes {width} columns, the rows have {rows.shape[1]}")
    if is_classifier(model):
        if not hasattr(model, "predict_proba"):
            raise ModelRefused(
                f"{kind} gives no probabilities",
                hint="wrap it in CalibratedClassifierCV or choose a classifier with predict_proba",
            )
        names = _named(tuple(map(label, model.classes_)), names)
        signature = Signature("classification", rows.shape[1], len(names))
        return Original(kind, library, model, signature, names, lambda x: quietly(model.predict_proba, x))
    if not is_regressor(model):
        raise ModelRefused(f"{kind} neither classifies nor regresses", hint="a pipeline must end in a predictor")
    outputs = columns(quietly(model.predict, rows[:1])).shape[1]
    signature = Signature("regression", rows.shape[1], outputs)
    return Original(kind, library, model, signature, (), lambda x: columns(quietly(model.predict, x)))


def _lightgbm_booster(model: Any, rows: Floats, names: tuple[str, ...]) -> Original:
    objective = next((x for x in model.model_to_string().splitlines() if x.startswith("objective=")), "objective=")
    kind = objective.removeprefix("objective=").split(" ")[0]
    many = int(model.dump_model(num_iteration=1)["num_class"])
    classes = 2 if kind == "binary" else many if kind in ("multiclass", "multiclassova") else 0
    _check_booster("LightGBM", kind, model.num_feature(), rows)
    return _booster("lightgbm", model, model.predict, classes, rows, names)


def _xgboost_booster(model: Any, rows: Floats, names: tuple[str, ...]) -> Original:
    learner = json.loads(model.save_config())["learner"]
    kind = learner["objective"]["name"]
    if kind == "multi:softmax":
        raise ModelRefused("this XGBoost model gives labels, no probabilities", hint="train it with multi:softprob")
    many = int(learner["learner_model_param"]["num_class"])
    classes = 2 if kind == "binary:logistic" else many if kind == "multi:softprob" else 0
    _check_booster("XGBoost", kind, model.num_features(), rows)

    def predict(x: Floats) -> Any:
        return model.inplace_predict(x, validate_features=False)

    return _booster("xgboost", model, predict, classes, rows, names)


def _check_booster(library: str, objective: str, width: int, rows: Floats) -> None:
    if "rank" in objective or objective in ("binary:logitraw", "binary:hinge", "none", ""):
        raise ModelRefused(f"{library} models with objective {objective!r} give neither probabilities nor values")
    if width != rows.shape[1]:
        raise ModelRefused(f"the {library} model takes {width} columns, the rows have {rows.shape[1]}")


def _booster(
    library: Library, model: Any, predict: Callable[[Floats], Any], classes: int, rows: Floats, names: tuple[str, ...]
) -> Original:
    if classes:
        names = _named(tuple(map(str, range(classes))), names)
        signature = Signature("classification", rows.shape[1], classes)
        return Original(
            f"{library} Booster", library, model, signature, names, lambda x: probabilities(predict(x), classes)
        )
    signature = Signature("regression", rows.shape[1], columns(predict(rows[:1])).shape[1])
    return Original(f"{library} Booster", library, model, signature, (), lambda x: columns(predict(x)))


def _torch(model: Any, rows: Floats, task: Task | None, names: tuple[str, ...]) -> Original:
    from atoll.engine.packages.torch_models import as_module

    module, answers, task, notes = as_module(model, rows, task or ("classification" if names else None))
    outputs = answers(rows[:1]).shape[1]
    signature = Signature(task, rows.shape[1], outputs)
    if task == "classification":
        names = _named(tuple(map(str, range(outputs))), names)
    return Original(type(model).__name__, "torch", module, signature, names, answers, notes)


def _onnx(data: bytes, rows: Floats, task: Task | None, names: tuple[str, ...]) -> Original:
    from atoll.engine.runtime.onnx_model import OnnxModel

    model = OnnxModel(data, Signature("regression", rows.shape[1], 1), threads=1)  # outputs are not looked at
    answers = model.predict(rows)
    if task is None:
        sums = np.abs(answers.sum(axis=1) - 1.0)
        task = "classification" if names or (answers.shape[1] > 1 and sums.max() < 1e-3) else "regression"
    if task == "classification":
        names = _named(tuple(map(str, range(answers.shape[1]))), names)
    signature = Signature(task, rows.shape[1], answers.shape[1])
    return Original("the ONNX model", "onnx", data, signature, names, model.predict)


def _named(own: tuple[str, ...], given: tuple[str, ...]) -> tuple[str, ...]:
    """The names that the user gives in place of the model's, if there are as many."""
    if given and len(given) != len(own):
        raise ModelRefused(f"{len(given)} class names for a model of {len(own)} classes: {', '.join(own[:12])}")
    return given or own
