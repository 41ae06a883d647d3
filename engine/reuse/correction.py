"""A linear correction of an answer: what is added to each value, or to the log-probability of each class.

answer_c + (1, rows) a_c + sum_i v_ic (output_ic - answer_c), with a penalty on the squares of all coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from atoll.engine.reuse.reuser import Doubles, Task
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

FLOOR = 1e-2  # share of an even guess in an answer, so that a class which it rules out can be brought back
STEPS = 200


@dataclass(frozen=True)
class Evidence:
    """Of n rows: the ``answer`` (n, c) to correct, and the features that may correct it: ``common`` (n, s) to all
    classes or targets, ``apart`` (n, c, k) of each its own."""

    answer: Doubles
    common: Doubles
    apart: Doubles

    def at(self, chosen: NDArray[np.integer] | NDArray[np.bool_]) -> Evidence:
        return Evidence(self.answer[chosen], self.common[chosen], self.apart[chosen])


def corrected(evidence: Evidence, coefficients: Doubles | None, task: Task) -> Doubles:
    """The answer (n, c) by ``coefficients`` (c, s + k); as it was for None."""
    if coefficients is None:
        return evidence.answer
    change = _change(evidence, coefficients)
    return evidence.answer + change if task == "regression" else softmax(_logs(evidence.answer) + change, axis=1)


def fitted(
    evidence: Evidence, labels: Doubles, penalty: float, task: Task, near: Doubles | None = None
) -> Doubles | None:
    """Coefficients (c, s + k) of least loss plus ``penalty`` / 2 times their squares; None if it is infinite.

    Ridge regression of what is left over, or multinomial logistic regression with the answer as an offset; ``near`` is
    where to start from.
    """
    if not (np.isfinite(penalty) and len(labels)):
        return None
    return _ridge(evidence, labels, penalty) if task == "regression" else _logistic(evidence, labels, penalty, near)


def _ridge(evidence: Evidence, labels: Doubles, penalty: float) -> Doubles:
    left = labels.reshape(evidence.answer.shape) - evidence.answer
    found = []
    for place in range(left.shape[1]):
        features = np.concatenate([evidence.common, evidence.apart[:, place]], axis=1)
        gram = features.T @ features + penalty * np.eye(features.shape[1])
        found.append(np.linalg.solve(gram, features.T @ left[:, place]))
    return np.array(found)


def _logistic(evidence: Evidence, labels: Doubles, penalty: float, near: Doubles | None) -> Doubles:
    shape = evidence.answer.shape[1], evidence.common.shape[1] + evidence.apart.shape[2]
    truth, offsets = np.eye(shape[0])[labels.astype(np.int64)], _logs(evidence.answer)

    def cost(flat: Doubles) -> tuple[float, Doubles]:
        coefficients = flat.reshape(shape)
        logs = log_softmax(offsets + _change(evidence, coefficients), axis=1)
        slopes = np.exp(logs) - truth
        own = np.einsum("nc,nck->ck", slopes, evidence.apart)
        slope = np.concatenate([slopes.T @ evidence.common, own], axis=1) + penalty * coefficients
        return float(-(logs * truth).sum() + penalty / 2 * (flat @ flat)), slope.ravel()

    start = np.zeros(shape) if near is None else near
    found = minimize(cost, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    return np.asarray(found.x.reshape(shape))


def _change(evidence: Evidence, coefficients: Doubles) -> Doubles:
    width = evidence.common.shape[1]
    own = np.einsum("nck,ck->nc", evidence.apart, coefficients[:, width:])
    return np.asarray(evidence.common @ coefficients[:, :width].T + own)


def _logs(answer: Doubles) -> Doubles:
    return np.asarray(np.log((1 - FLOOR) * answer + FLOOR / answer.shape[1]))
