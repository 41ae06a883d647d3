"""What an answer costs, row by row, and the folds that keep fitting and validating apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from atoll.engine.reuse.reuser import Doubles, Task
from numpy.typing import NDArray

FOLDS = 5
SMALLEST = 1e-6  # probability that an answer gives to what it rules out, so that one surprise is not infinite

Places = NDArray[np.int64]


def losses(values: Doubles, target: NDArray[np.floating], task: Task) -> Doubles:
    """(n,): 0 or 1 by the most probable class, or the squared error (mean over the targets of a row), of ``values``
    (n, c). A row without an answer is wrong, or as bad as the worst (of the mean as an answer, where there is none)."""
    if task == "classification":
        places = np.where(np.isnan(values), -1.0, values).argmax(axis=1)
        return np.asarray((places != target) | np.isnan(values).any(axis=1), np.float64)
    truth = target.reshape(len(values), -1)
    squares = ((values - truth) ** 2).mean(axis=1)
    known = squares[np.isfinite(squares)]
    worst = (known if len(known) else ((truth - truth.mean(axis=0)) ** 2).mean(axis=1)).max()
    return np.asarray(np.where(np.isfinite(squares), squares, worst))


def surprise(values: Doubles, target: NDArray[np.floating], least: float = SMALLEST) -> Doubles:
    """(n,): minus the log of the probability, at ``least`` what is said, given to the class at ``target`` (n,); smooth,
    so that it is what weights are fitted by."""
    given = np.nan_to_num(values[np.arange(len(values)), target.astype(np.int64)])
    return np.asarray(-np.log(np.maximum(given, least)))


def folds(count: int, parts: int = FOLDS, seed: int = 0) -> Iterator[tuple[Places, Places]]:
    """(rows to fit on, rows to validate on), every row validated once; always the same for the same count."""
    order = np.random.default_rng(seed).permutation(count)
    for part in np.array_split(order, min(parts, count)):
        yield np.setdiff1d(order, part), np.sort(part)
