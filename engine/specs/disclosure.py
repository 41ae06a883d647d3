"""Rule 2 of the privacy gate: no point of a specification may give away a row (algorithms: privacy gate).

A point discloses the row it is nearest to if it lies within a tenth of that row's distance to its nearest other
row; a value that five rows share is nobody's secret. Exact, in float64, in two passes over the rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from atoll.engine.specs.report import ROWS_PER_POINT, TENTH
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

PLACES = 4  # other places tried for a point that gives a row away
CHUNK = 256
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Disclosure:
    """For each point: ``share``, its distance to the nearest row over ``reach``, that row's distance to its nearest
    row of another value; both float64 (m,). ``share`` is infinite on a value that five rows or more hold."""

    share: Doubles
    reach: Doubles


def disclosure(points: Floats, rows: Iterable[Floats]) -> Disclosure:
    """How much each point (m, d) tells of a row; ``rows`` gives the blocks (n, d) anew at each of two iterations."""
    nearest = _Nearest(points)
    for block in rows:
        nearest.see(block)
    neighbours = _Neighbours(nearest.rows)
    for block in rows:
        neighbours.see(block)
    reach = np.sqrt(neighbours.squares)
    exempt = (neighbours.shared >= ROWS_PER_POINT) | ~np.isfinite(reach)
    with np.errstate(invalid="ignore"):
        share = np.where(exempt, np.inf, np.sqrt(nearest.squares) / reach)
    return Disclosure(share, reach)


def moved_off(
    points: Floats, rows: Iterable[Floats], random: np.random.Generator, suspects: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.bool_]]:
    """``points`` with those of the ``suspects`` that give a row away moved a little, and which points to keep.

    A point goes to one of a few random places within the reach of the row that it gave away; it is not kept if each
    of them gives a row away too.
    """
    told = disclosure(points[suspects], rows)
    giving = told.share < TENTH
    places, keep = points.copy(), np.ones(len(points), bool)
    if not giving.any():
        return places, keep
    homes, reach = suspects[giving], told.reach[giving]
    steps = random.standard_normal((PLACES, len(homes), points.shape[1]))
    steps *= (random.uniform(0.2, 0.6, (PLACES, len(homes))) * reach / np.linalg.norm(steps, axis=2))[:, :, None]
    tried = (points[homes] + steps).astype(np.float32)
    good = (disclosure(tried.reshape(-1, points.shape[1]), rows).share >= TENTH).reshape(PLACES, -1)
    places[homes] = tried[good.argmax(axis=0), np.arange(len(homes))]
    keep[homes] = good.any(axis=0)
    return places, keep


class _Nearest:
    """The row nearest to each point so far."""

    def __init__(self, points: Floats) -> None:
        self._points = points.astype(np.float64)
        self.squares = np.full(len(points), np.inf)
        self.rows = np.zeros(points.shape)

    def see(self, block: Floats) -> None:
        for start in range(0, len(block), CHUNK):
            chunk = block[start : start + CHUNK].astype(np.float64)
            squares = cdist(self._points, chunk, "sqeuclidean")
            best = squares.argmin(axis=1)
            found = squares[np.arange(len(best)), best]
            closer = found < self.squares
            self.squares[closer] = found[closer]
            self.rows[closer] = chunk[best[closer]]


class _Neighbours:
    """The squared distance from each of some rows to the nearest row of another value, and how many share its own."""

    def __init__(self, rows: Doubles) -> None:
        self._rows = rows
        self.squares = np.full(len(rows), np.inf)
        self.shared = np.zeros(len(rows), np.int64)

    def see(self, block: Floats) -> None:
        for start in range(0, len(block), CHUNK):
            squares = cdist(self._rows, block[start : start + CHUNK].astype(np.float64), "sqeuclidean")
            same = squares == 0.0
            self.shared += same.sum(axis=1)
            squares[same] = np.inf
            np.minimum(self.squares, squares.min(axis=1, initial=np.inf), out=self.squares)
