"""What is told of the distance to RKMEs that the asker may not have: the exact one is an oracle for their points.

Three precautions (network, section 7): a query must be a distribution, not a probe; distances, and so the order of the
answers and which of them are told at all, are those to stand-ins; and they have three digits. The second holds against
any number of queries, alone.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from atoll.engine.errors import QueryTooNarrow
from atoll.engine.matching.distances import RkmeIndex
from atoll.engine.matching.ranking import Ranking, ranking
from atoll.engine.specs.kernels import gaussian
from atoll.engine.specs.rkme import Rkme

POINTS = 30
EFFECTIVE = 15.0
SHARPER = 16.0  # kernel under which points count as one, as a multiple of gamma: real RKMEs lose 1 to 30 % by it
REACH = 9.0  # gamma |x|^2 up to which a point counts: 3 standard deviations in every feature
DIGITS = 3
SPARE = 16  # looked at beyond those that are told


def check_query(query: Rkme) -> None:
    """QueryTooNarrow unless the query has 30 points within reach and an effective size of 15."""
    within = int(_reachable(query).sum())
    size = effective_size(query)
    if within < POINTS or size < EFFECTIVE:
        raise QueryTooNarrow(
            f"a query of {within} points, which count as {size:.1f}, is not answered about specifications "
            f"that are not disclosed: at least {POINTS} points that count as {EFFECTIVE:g} are needed",
            hint="fit the query to more rows (350 give 30 points), or to rows that differ more",
        )


def effective_size(query: Rkme) -> float:
    """How many equally weighted, distinct points within reach the query is worth, in [0, m].

    1 / sum of squared normalised weights (Kish 1965), the square taken under a sharper kernel, so that points that
    nearly coincide count as one; far from everything, points do not count.
    """
    within = _reachable(query)
    weights = query.weights[within].astype(np.float64)
    if not len(weights):
        return 0.0
    weights /= weights.sum()
    points = query.points[within]
    return float(1.0 / (weights @ gaussian(points, points, SHARPER * query.gamma) @ weights))


def told(distance: float) -> float:
    """A distance to three significant digits."""
    return float(f"{distance:.{DIGITS}g}")


def nearest_told(query: Rkme, stand_ins: RkmeIndex, limit: int, *, among: Collection[str] | None = None) -> Ranking:
    """The ``limit`` nearest ids and what is told of MMD^2, ascending, ties by id; of those in ``among``, if given. As
    all of it is computed from stand-ins, it errs by 0.0005 to 0.003 (RMS; at most 0.016 was seen)."""
    if limit <= 0:
        return [], np.zeros(0)
    spare = SPARE
    while True:  # until all that are told the same as the last one are there: which of them are named is by id
        ids, exact = stand_ins.nearest(query, limit + spare, among=among)
        distances = np.array([told(distance) for distance in exact])
        if len(ids) < limit + spare or distances[-1] > distances[limit - 1]:
            return ranking(ids, distances, limit)
        spare *= 8


def _reachable(query: Rkme) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    squares = np.square(query.points.astype(np.float64)).sum(axis=1)
    return np.asarray((query.weights > 0) & (query.gamma * squares <= REACH))
