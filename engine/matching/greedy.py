"""Greedy forward selection of a mixture's members, all weights solved again at each step.

Each step needs the best of n quadratic programs of at most five variables. Dropping w >= 0 leaves a program with a
closed form, solved for all candidates at once; its value bounds the real one from below, and is the real one where
the weights come out non-negative. Only candidates whose bound beats the best found so far reach the solver.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from atoll.engine.matching.weights import Floats, Mixture, mixture, weigh
from atoll.engine.specs.quadratic import RIDGE
from numpy.typing import NDArray

TIE = 1e-12  # values closer than this are equal, and the candidate that comes first is taken
Row = Callable[[int], Floats]


def select(row: Row, diagonal: Floats, cross: Floats, norm2: float, max_members: int, min_gain: float) -> Mixture:
    """At most ``max_members`` of n candidates, each lowering MMD^2 by the share ``min_gain`` at least.

    ``row(i)`` gives <P_i, P_j> for all j (n,) and is called for members only, ``diagonal`` (n,) is <P_i, P_i>,
    ``cross`` (n,) is <user, P_i>, ``norm2`` is <user, user>.
    """
    chosen: list[int] = []
    rows = np.zeros((0, len(cross)))
    best = Mixture((), (), max(norm2, 0.0), 1.0)
    while len(chosen) < min(max_members, len(cross)) and best.mmd2 > TIE:
        place = _best_addition(rows, chosen, diagonal, cross)
        members, rows = [*chosen, place], np.vstack([rows, row(place)])
        step = mixture(members, weigh(rows[:, members], cross[members]), rows[:, members], cross[members], norm2)
        if not step.mmd2 < best.mmd2 * (1.0 - min_gain):
            break
        kept = [number for number, member in enumerate(members) if member in step.members]
        chosen, rows, best = [members[number] for number in kept], rows[kept], step
    return best


def _best_addition(rows: Floats, chosen: list[int], diagonal: Floats, cross: Floats) -> int:
    """The candidate that, added to the ``chosen``, whose Gram ``rows`` (k, n) are given, lowers MMD^2 most."""
    rest = np.setdiff1d(np.arange(len(cross)), chosen)
    grams = _bordered(rows[:, chosen], rows[:, rest], diagonal[rest])
    crosses = np.concatenate([np.tile(cross[chosen], (len(rest), 1)), cross[rest, None]], axis=1)
    weights, bounds = _without_signs(grams, crosses)
    best, lowest = 0, np.inf
    for number in np.argsort(bounds, kind="stable"):
        if bounds[number] > lowest + TIE:
            break
        value = bounds[number]
        if (weights[number] < 0).any():
            w = weigh(grams[number], crosses[number])
            value = w @ grams[number] @ w - 2.0 * crosses[number] @ w
        if value < lowest - TIE or (value <= lowest + TIE and number < best):
            best, lowest = int(number), min(value, lowest)
    return int(rest[best])


def _bordered(gram: Floats, rows: Floats, diagonal: Floats) -> Floats:
    """``gram`` (k, k) with one more row and column for each of J candidates, and a ridge: (J, k + 1, k + 1)."""
    k, count = rows.shape
    grams = np.empty((count, k + 1, k + 1))
    grams[:, :k, :k] = gram
    grams[:, :k, k] = grams[:, k, :k] = rows.T
    grams[:, k, k] = diagonal
    return grams + RIDGE * np.eye(k + 1)


def _without_signs(grams: Floats, crosses: Floats) -> tuple[Floats, NDArray[np.float64]]:
    """argmin and min of w'Gw - 2c'w under sum w <= 1 alone, for (J, n, n) and (J, n): (J, n) and (J,)."""
    both = np.linalg.solve(grams, np.stack([crosses, np.ones_like(crosses)], axis=2))
    free, slope = both[..., 0], both[..., 1]
    excess = np.maximum(free.sum(1) - 1.0, 0.0)
    weights = free - slope * (excess / slope.sum(1))[:, None]
    return weights, np.einsum("ji,jik,jk->j", weights, grams, weights) - 2.0 * np.einsum("ji,ji->j", crosses, weights)
