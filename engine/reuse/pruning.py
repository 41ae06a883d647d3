"""Ensemble pruning: which members, and how often, by forward selection with replacement (Caruana et al. 2004).

Each member stands for election twice: with the share that a label-free method gives it row by row, and with the same
share in every row. Where members are alike, their mean wins; where each knows something else, routing does.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from atoll.engine.errors import SpecificationError
from atoll.engine.reuse.combining import answered, check_labelled, combined, reassigned
from atoll.engine.reuse.losses import losses, surprise
from atoll.engine.reuse.reuser import Doubles, Floats, Reuser, Target, Task
from numpy.typing import NDArray

ROUNDS = 30


class Pruning:
    """``start`` is a label-free reuser, fitted to rows of the user.

    Its answer is where the selection starts: everybody is in once. Thirty times what lowers the loss of the labelled
    rows most is added: squared errors, or minus the log of the probability of the true class.
    """

    labelled: ClassVar[bool] = True

    def __init__(self, task: Task, start: Reuser) -> None:
        self._task = task
        self._start = start
        self._counts: Doubles | None = None

    def fit(self, units: Floats, outputs: Doubles | None = None, target: Target | None = None) -> Self:
        outputs, labels = check_labelled(units, outputs, target, self._task)
        heard = answered(outputs)
        usable = np.asarray(heard.any(axis=0))
        counts = np.concatenate([usable.astype(np.float64), np.zeros(len(usable))])
        shares = _twice(self._start.shares(units)) * np.tile(heard, 2)
        spoken = shares[:, :, None] * np.tile(np.where(heard[:, :, None], outputs, 0.0), (1, 2, 1))
        for _ in range(ROUNDS if np.any(usable) else 0):
            counts[self._best(counts, shares, spoken, labels)] += 1.0
        self._counts = counts
        return self

    def shares(self, units: Floats) -> Doubles:
        """Those of the start, and equal ones, each times how often it was chosen."""
        if self._counts is None:
            raise SpecificationError("the pruning is not fitted", hint="fit it to labelled rows first")
        start = self._start.shares(units)
        routed, even = np.split(_twice(start) * self._counts, 2, axis=1)
        weighted = routed + even
        totals = weighted.sum(axis=1, keepdims=True)
        return np.where(totals > 0, weighted / np.where(totals > 0, totals, 1.0), start)

    def combine(self, units: Floats, shares: Doubles, outputs: Doubles) -> Doubles:
        shares = reassigned(shares, outputs, lambda lost: self._start.shares(np.asarray(units)[lost]))
        return combined(shares, outputs)

    def covered(self, units: Floats) -> NDArray[np.bool_]:
        return self._start.covered(units)

    def _best(self, counts: Doubles, shares: Doubles, spoken: Doubles, labels: Doubles) -> int:
        """The one to add to those chosen; sums are kept, so that each costs (n, c)."""
        said, totals = np.einsum("nkc,k->nc", spoken, counts), shares @ counts
        costs = []
        for place in range(len(counts)):
            total = totals + shares[:, place]
            values = (said + spoken[:, place]) / np.where(total > 0, total, np.nan)[:, None]
            costs.append(float(self._losses(values, labels).mean()))
        return int(np.argmin(costs))

    def _losses(self, values: Doubles, labels: Doubles) -> Doubles:
        return surprise(values, labels) if self._task == "classification" else losses(values, labels, self._task)


def _twice(shares: Doubles) -> Doubles:
    """(n, 2 k): the shares (n, k), and equal ones."""
    return np.concatenate([shares, np.full(shares.shape, 1.0 / shares.shape[1])], axis=1)
