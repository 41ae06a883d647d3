"""Feature augmentation: the label-free answer, corrected by what few labelled rows say of the members and of the rows.

The features are how far each member's output is from the label-free answer, and the row itself. Cross-validation
chooses how strongly to correct; not at all is one of the choices, so that it is never much worse than where it starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from atoll.engine.errors import SpecificationError
from atoll.engine.reuse.combining import check_labelled
from atoll.engine.reuse.correction import Evidence, corrected, fitted
from atoll.engine.reuse.losses import folds, losses, surprise
from atoll.engine.reuse.reuser import Doubles, Floats, Reuser, Target, Task
from numpy.typing import NDArray

PENALTIES = (np.inf, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)  # in labelled rows, for features of about unit size
WEAKEST = 100.0  # penalty times labelled rows: of a few rows each class is seen once or never, whatever the folds say
ROW = 0.5  # length of a row beside a member's output: it is trusted to correct, not to replace
TINY = 1e-9


@dataclass(frozen=True)
class Scales:
    """What brings features to unit size: mean and deviation (d,) of the rows, and how far apart outputs are (c,)."""

    middle: Doubles
    width: Doubles
    apart: Doubles


class Augmentation:
    """``start`` is a label-free reuser, fitted to rows of the user. Every member is asked about every row."""

    labelled: ClassVar[bool] = True

    def __init__(self, task: Task, start: Reuser) -> None:
        self._task: Task = task
        self._start = start
        self._scales: Scales | None = None
        self._coefficients: Doubles | None = None

    def fit(self, units: Floats, outputs: Doubles | None = None, target: Target | None = None) -> Self:
        outputs, labels = check_labelled(units, outputs, target, self._task)
        answer = self._start.combine(units, self._start.shares(units), outputs)
        self._scales = _scales(units, answer, outputs, self._task)
        kept = np.flatnonzero(np.isfinite(answer).all(axis=1))
        evidence, labels = _evidence(units, answer, outputs, self._scales).at(kept), labels[kept]
        self._coefficients = fitted(evidence, labels, self._penalty(evidence, labels), self._task)
        return self

    def shares(self, units: Floats) -> Doubles:
        """Half those of the start, half equal ones."""
        start = self._start.shares(units)
        return np.asarray((start + 1.0 / start.shape[1]) / 2)

    def combine(self, units: Floats, shares: Doubles, outputs: Doubles) -> Doubles:
        if self._scales is None:
            raise SpecificationError("the augmentation is not fitted", hint="fit it to labelled rows first")
        start = self._start.shares(units) * (shares > 0).any(axis=1, keepdims=True)
        answer = self._start.combine(units, start, outputs)
        return corrected(_evidence(units, answer, outputs, self._scales), self._coefficients, self._task)

    def covered(self, units: Floats) -> NDArray[np.bool_]:
        return self._start.covered(units)

    def _penalty(self, evidence: Evidence, labels: Doubles) -> float:
        """The strongest of the penalties with the least loss on rows that were not fitted to."""
        penalties = [penalty for penalty in PENALTIES if penalty * len(labels) >= WEAKEST]
        totals = np.zeros(len(penalties))
        for chosen, held in folds(len(labels)) if len(labels) > 1 else ():
            part, rest, near = evidence.at(chosen), evidence.at(held), None
            for place, penalty in enumerate(penalties):
                near = fitted(part, labels[chosen], penalty, self._task, near)
                totals[place] += self._loss(corrected(rest, near, self._task), labels[held])
        return penalties[int(totals.argmin())]

    def _loss(self, values: Doubles, labels: Doubles) -> float:
        classes = self._task == "classification"
        return float((surprise(values, labels) if classes else losses(values, labels, self._task)).sum())


def _scales(units: Floats, answer: Doubles, outputs: Doubles, task: Task) -> Scales:
    squares = (outputs - answer[:, None]) ** 2
    known = np.isfinite(squares)
    axes = None if task == "classification" else (0, 1)  # probabilities have one scale, targets each their own
    apart = np.sqrt(np.where(known, squares, 0.0).sum(axis=axes) / np.maximum(known.sum(axis=axes), 1))
    width = np.asarray(units.std(axis=0, dtype=np.float64))
    return Scales(
        np.asarray(units.mean(axis=0, dtype=np.float64)),
        np.where(width > TINY, width, 1.0),
        np.broadcast_to(np.where(apart > TINY, apart, 1.0), answer.shape[1:]),
    )


def _evidence(units: Floats, answer: Doubles, outputs: Doubles, scales: Scales) -> Evidence:
    """A member that was not asked, or did not answer, is taken to agree with the others."""
    rows = (np.asarray(units, np.float64) - scales.middle) / scales.width * (ROW / np.sqrt(units.shape[1]))
    apart = (outputs - answer[:, None]) / scales.apart
    known = np.where(np.isfinite(apart), apart, 0.0).transpose(0, 2, 1)
    return Evidence(answer, np.column_stack([np.ones(len(rows)), rows]), np.ascontiguousarray(known))
