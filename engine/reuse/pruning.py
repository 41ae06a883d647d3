"""Ensemble pruning: which members, and how often, by forward selection with replacement (Caruana et al. 2004)."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from atoll.engine.reuse.combining import answered, check_labelled, combined, everywhere
from atoll.engine.reuse.losses import losses, surprise
from atoll.engine.reuse.reuser import Doubles, Floats, Target, Task
from numpy.typing import NDArray

ROUNDS = 30


class Pruning:
    """Starts from nobody and adds, thirty times, the member with which the mean of those chosen loses least on the
    labelled rows; the shares are how often each was chosen."""

    labelled: ClassVar[bool] = True

    def __init__(self, task: Task) -> None:
        self._task = task
        self._row: Doubles | None = None

    def fit(self, units: Floats, outputs: Doubles | None = None, target: Target | None = None) -> Self:
        outputs, labels = check_labelled(units, outputs, target)
        counts = np.zeros(outputs.shape[1])
        usable = np.asarray(answered(outputs).any(axis=0))
        for _ in range(ROUNDS if np.any(usable) else 0):
            costs = [
                self._cost(counts + one, outputs, labels) if usable[k] else np.inf
                for k, one in enumerate(np.eye(len(counts)))
            ]
            counts[int(np.argmin(costs))] += 1
        self._row = counts / max(counts.sum(), 1)
        return self

    def shares(self, units: Floats) -> Doubles:
        assert self._row is not None
        return everywhere(units, self._row)

    def combine(self, units: Floats, shares: Doubles, outputs: Doubles) -> Doubles:
        return combined(shares, outputs)

    def covered(self, units: Floats) -> NDArray[np.bool_]:
        return np.ones(len(units), bool)

    def _cost(self, counts: Doubles, outputs: Doubles, labels: Doubles) -> float:
        values = combined(everywhere(labels, counts), outputs)
        cost = surprise(values, labels) if self._task == "classification" else losses(values, labels, self._task)
        return float(cost.mean())
