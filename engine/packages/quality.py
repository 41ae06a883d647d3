"""A model's quality on labelled rows: accuracy of classifiers, R2 and RMSE of regressors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from atoll.engine.errors import TableError
from atoll.engine.packages.manifest import Manifest
from atoll.engine.tables import Table
from numpy.typing import NDArray


class Measured(msgspec.Struct, frozen=True):
    """A figure on ``rows`` labelled rows; the metrics are accuracy, R2 and RMSE."""

    metric: str
    value: float
    rows: int


def sample(rows: Any, truth: Sequence[object], manifest: Manifest) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Rows float32 (n, inputs) in the model's columns, and the truth: class numbers (n,) or targets (n, outputs).

    TableError where lengths differ, a label is no class name of the manifest, or a target is no number.
    """
    values = Table.of(rows).select(manifest.columns).astype(np.float32)
    if len(values) != len(truth) or not len(values):
        raise TableError(f"{len(values)} labelled rows with {len(truth)} labels")
    if manifest.signature.task == "classification":
        return values, _classes(truth, manifest.class_names)
    try:
        targets = np.asarray(truth, np.float64).reshape(len(values), -1)
    except (TypeError, ValueError):
        raise TableError("the targets of the labelled rows are not all numbers") from None
    if targets.shape[1] != manifest.signature.outputs or not np.isfinite(targets).all():
        raise TableError(f"targets of shape {targets.shape}: expected {manifest.signature.outputs} finite values a row")
    return values, targets


def measure(answers: NDArray[np.float32], truth: NDArray[Any], manifest: Manifest) -> list[Measured]:
    """Accuracy, or R2 and RMSE over all targets, of the ``answers`` (n, outputs)."""
    n = len(truth)
    if manifest.signature.task == "classification":
        return [Measured("accuracy", float((_chosen(answers) == truth).mean()), n)]
    errors = float(((answers - truth) ** 2).mean())
    spread = float(((truth - truth.mean(axis=0)) ** 2).mean())
    figures = [Measured("RMSE", float(np.sqrt(errors)), n)]
    return [Measured("R2", 1.0 - errors / spread, n), *figures] if spread > 0 else figures


def _chosen(answers: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.asarray(answers.argmax(axis=1), np.int64)


def _classes(truth: Sequence[object], names: tuple[str, ...]) -> NDArray[np.int64]:
    places = {name: place for place, name in enumerate(names)}
    labels = [_label(each) for each in truth]
    unknown = sorted({label for label in labels if label not in places})
    if unknown:
        raise TableError(f"labels that the model has no class of: {', '.join(unknown[:8])}")
    return np.array([places[label] for label in labels], np.int64)


def _label(value: object) -> str:
    """As class names are written: whole numbers without a point."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)
