"""Feature augmentation: the label-free answer, corrected by what few labelled rows say.

A linear model of the row and of the members' outputs, whose starting point is the label-free answer and whose strength
is chosen by cross-validation; one of the strengths is none, so that it is never much worse than where it starts.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from atoll.engine.errors import SpecificationError
from atoll.engine.reuse.combining import check_labelled
from atoll.engine.reuse.losses import folds, losses, surprise
from atoll.engine.reuse.reuser import Doubles, Floats, Reuser, Target, Task
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

PENALTIES = (np.inf, 1000.0, 300.0, 100.0, 30.0, 10.0, 3.0)
FLOOR = 1e-3  # share of an even guess in the label-free answer, so that what it rules out can be corrected


class Augmentation:
    """``start`` is a fitted, label-free reuser; its shares are also those of this one."""

    labelled: ClassVar[bool] = True

    def __init__(self, task: Task, start: Reuser) -> None:
        self._task = task
        self._start = start
        self._fitted: tuple[Doubles, Doubles, Doubles] | None = None

    def fit(self, units: Floats, outputs: Doubles | None = None, target: Target | None = None) -> Self:
        outputs, labels = check_labelled(units, outputs, target)
        answer = self._start.combine(units, self._start.shares(units), outputs)
        kept = np.isfinite(answer).all(axis=1)
        rows, answer, labels = np.asarray(units, np.float64)[kept], answer[kept], labels[kept]
        middle, scale = _standard(rows)
        features = _features(rows, middle, scale)
        penalty = self._penalty(features, answer, labels)
        self._fitted = middle, scale, self._coefficients(features, answer, labels, penalty)
        return self

    def shares(self, units: Floats) -> Doubles:
        return self._start.shares(units)

    def combine(self, units: Floats, shares: Doubles, outputs: Doubles) -> Doubles:
        if self._fitted is None:
            raise SpecificationError("the augmentation is not fitted", hint="fit it to labelled rows first")
        middle, scale, coefficients = self._fitted
        answer = self._start.combine(units, shares, outputs)
        return self._corrected(_features(np.asarray(units, np.float64), middle, scale), answer, coefficients)

    def covered(self, units: Floats) -> NDArray[np.bool_]:
        return self._start.covered(units)

    def _penalty(self, features: Doubles, answer: Doubles, labels: Doubles) -> float:
        """The strongest of the penalties with the least loss on rows that were not fitted to."""
        totals = np.zeros(len(PENALTIES))
        for fitted, held in folds(len(labels)) if len(labels) > 1 else ():
            for place, penalty in enumerate(PENALTIES):
                coefficients = self._coefficients(features[fitted], answer[fitted], labels[fitted], penalty)
                values = self._corrected(features[held], answer[held], coefficients)
                totals[place] += self._cost(values, labels[held])
        return PENALTIES[int(totals.argmin())]

    def _cost(self, values: Doubles, labels: Doubles) -> float:
        if self._task == "classification":
            return float(surprise(values, labels).sum())
        return float(losses(values, labels, self._task).sum())

    def _coefficients(self, features: Doubles, answer: Doubles, labels: Doubles, penalty: float) -> Doubles:
        if not (np.isfinite(penalty) and len(labels)):
            return np.zeros((features.shape[1], answer.shape[1]))
        if self._task == "regression":
            gram = features.T @ features + penalty * np.eye(features.shape[1])
            return np.asarray(np.linalg.solve(gram, features.T @ (labels.reshape(answer.shape) - answer)), np.float64)
        return _logistic(features, _logs(answer), labels.astype(np.int64), penalty)

    def _corrected(self, features: Doubles, answer: Doubles, coefficients: Doubles) -> Doubles:
        change = features @ coefficients
        if not coefficients.any():
            return answer
        return answer + change if self._task == "regression" else softmax(_logs(answer) + change, axis=1)


def _logistic(features: Doubles, offsets: Doubles, labels: NDArray[np.int64], penalty: float) -> Doubles:
    """Coefficients (f, c) of a softmax with ``offsets`` (n, c): argmin of the log loss + penalty / 2 ||B||^2."""
    shape = features.shape[1], offsets.shape[1]
    truth = np.eye(shape[1])[labels]

    def cost(flat: Doubles) -> tuple[float, Doubles]:
        logs = log_softmax(offsets + features @ flat.reshape(shape), axis=1)
        slope = features.T @ (np.exp(logs) - truth) + penalty * flat.reshape(shape)
        return float(-(logs * truth).sum() + penalty / 2 * (flat @ flat)), slope.ravel()

    found = minimize(cost, np.zeros(shape[0] * shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return np.asarray(found.x.reshape(shape))


def _logs(answer: Doubles) -> Doubles:
    return np.asarray(np.log((1 - FLOOR) * answer + FLOOR / answer.shape[1]))


def _standard(rows: Doubles) -> tuple[Doubles, Doubles]:
    scale = rows.std(axis=0) if len(rows) else np.ones(rows.shape[1])
    middle = rows.mean(axis=0) if len(rows) else np.zeros(rows.shape[1])
    return middle, np.where(scale > 1e-9, scale, 1.0)


def _features(rows: Doubles, middle: Doubles, scale: Doubles) -> Doubles:
    return np.column_stack([np.ones(len(rows)), (rows - middle) / scale])
