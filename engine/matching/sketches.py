"""Sketch matching: what a node can rank with nothing but gossiped summaries."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from atoll.engine.specs.sketch import Sketch, decode
from numpy.typing import NDArray

ERROR_BAND = 0.15  # RMSE is 0.014 between neighbours, but distances of far data were seen to err by 0.07


class SketchIndex:
    """int8 sketches of one island by id; distances estimate MMD^2."""

    def __init__(self, sketches: Mapping[str, Sketch]) -> None:
        self.ids = tuple(sorted(sketches))
        self._values = np.array([sketches[id_].floats() for id_ in self.ids], np.float32)

    def distances(self, query: Sketch) -> NDArray[np.float64]:
        """Estimated MMD^2 to every member, in the order of ``ids``."""
        if not self.ids:
            return np.zeros(0)
        difference = self._values - query.floats()
        return np.asarray(np.einsum("ij,ij->i", difference, difference), dtype=np.float64)

    def nearest(self, query: Sketch, limit: int = 10) -> tuple[list[str], NDArray[np.float64]]:
        """The ``limit`` nearest ids and their estimated MMD^2, ascending, ties by id."""
        found = self.distances(query)
        order = np.lexsort((np.array(self.ids), found))[:limit]
        return [self.ids[place] for place in order], found[order]


def sketch_gram(values: NDArray[np.int8]) -> NDArray[np.float64]:
    """Estimated Gram matrix (k, k) of int8 sketches (k, 512 * blocks)."""
    floats = decode(values).astype(np.float64)
    return np.asarray(floats @ floats.T)
