"""Exact matching of one query against many RKMEs of one island, batched: stacked points, one GEMM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from atoll.engine.errors import DimensionMismatch
from atoll.engine.specs.kernels import gaussian
from atoll.engine.specs.rkme import Rkme
from numpy.typing import NDArray


class RkmeIndex:
    """RKMEs of one island by id; distances are exact and in float64."""

    def __init__(self, rkmes: Mapping[str, Rkme]) -> None:
        if len({(rkme.dimension, round(rkme.gamma, 12)) for rkme in rkmes.values()}) > 1:
            raise DimensionMismatch("the RKMEs of one index must come from one island")
        self.ids = tuple(sorted(rkmes))
        members = [rkmes[id_] for id_ in self.ids]
        self._gamma = members[0].gamma if members else 1.0
        self._norms = np.array([member.norm2 for member in members])
        self._starts = np.cumsum([0, *(len(member.weights) for member in members)])[:-1]
        if members:
            self._points = np.concatenate([member.points for member in members]).astype(np.float64)
            self._weights = np.concatenate([member.weights for member in members]).astype(np.float64)

    def cross(self, query: Rkme) -> NDArray[np.float64]:
        """<query, member> for every member, in the order of ``ids``."""
        if not self.ids:
            return np.zeros(0)
        if query.dimension != self._points.shape[1] or not np.isclose(query.gamma, self._gamma, rtol=1e-6):
            raise DimensionMismatch("the query does not come from the island of this index")
        sums = gaussian(self._points, query.points, self._gamma) @ query.weights.astype(np.float64)
        return np.asarray(np.add.reduceat(self._weights * sums, self._starts))

    def distances(self, query: Rkme) -> NDArray[np.float64]:
        """MMD^2 to every member, in the order of ``ids``."""
        return np.maximum(self._norms - 2.0 * self.cross(query) + query.norm2, 0.0)

    def nearest(self, query: Rkme, limit: int = 10) -> tuple[list[str], NDArray[np.float64]]:
        """The ``limit`` nearest ids and their MMD^2, ascending, ties by id."""
        found = self.distances(query)
        order = np.lexsort((np.array(self.ids), found))[:limit]
        return [self.ids[place] for place in order], found[order]


def gram_matrix(members: Sequence[Rkme]) -> NDArray[np.float64]:
    """G (k, k) with G_ij = <P_i, P_j>."""
    index = RkmeIndex({f"{place:06d}": member for place, member in enumerate(members)})
    return np.array([index.cross(member) for member in members]).reshape(len(members), len(members))
