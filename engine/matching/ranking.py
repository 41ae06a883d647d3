"""The order of every ranking: distance ascending, ties by id."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ranking = tuple[list[str], NDArray[np.float64]]


def ranking(ids: Sequence[str], distances: NDArray[np.float64], limit: int) -> Ranking:
    """The ``limit`` nearest ids and their distances; only those that can be among them are sorted."""
    limit = min(limit, len(ids))
    if limit <= 0:
        return [], np.zeros(0)
    last = np.partition(distances, limit - 1)[limit - 1]
    near = np.flatnonzero(distances <= last)
    order = near[np.lexsort((np.array([ids[place] for place in near.tolist()]), distances[near]))][:limit]
    return [ids[place] for place in order.tolist()], distances[order]
