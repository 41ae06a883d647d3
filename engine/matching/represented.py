"""Mixtures in one representation, all exact or all sketches: mixing exact with estimated inner products was
measured to be 2.5 to 7 times worse (algorithms: matching).

Each function takes the user and all candidates as one type, so that the two cannot meet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from atoll.engine.matching import greedy
from atoll.engine.matching.distances import RkmeIndex
from atoll.engine.matching.mixture import MAX_MEMBERS, MIN_GAIN, Method, solve_mixture
from atoll.engine.matching.sketch_table import check_length
from atoll.engine.matching.weights import Mixture, gram_of_sketches
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.sketch import Sketch


def mixture_of_rkmes(
    query: Rkme, candidates: Sequence[Rkme], *, method: Method = "greedy", max_members: int = MAX_MEMBERS,
    min_gain: float = MIN_GAIN,
) -> Mixture:  # fmt: skip
    """The exact mixture; DimensionMismatch unless all are of one island."""
    index = RkmeIndex({f"{place:06d}": candidate for place, candidate in enumerate(candidates)})
    cross = index.cross(query)
    if method != "greedy":
        return solve_mixture(index.gram(), cross, query.norm2, method=method, max_members=max_members)
    diagonal = np.array([candidate.norm2 for candidate in candidates])
    return greedy.select(
        lambda place: index.cross(candidates[place]), diagonal, cross, query.norm2, max_members, min_gain
    )  # Gram rows of the members alone, not of all candidates


def mmd2_of_sketches(query: Sketch, members: Sequence[Sketch], weights: Sequence[float]) -> float:
    """Estimated MMD^2 to a mixture whose ``weights`` are given."""
    own, w = query.floats().astype(np.float64), np.array(weights)
    rows = np.array([each.floats() for each in members], np.float64).reshape(len(members), len(own))
    gram = gram_of_sketches(rows, np.array([each.bias for each in members]))
    return max(0.0, float(w @ gram @ w - 2.0 * (rows @ own) @ w + own @ own) - query.bias)


def mixture_of_sketches(
    query: Sketch, candidates: Sequence[Sketch], *, method: Method = "greedy", max_members: int = MAX_MEMBERS,
    min_gain: float = MIN_GAIN,
) -> Mixture:  # fmt: skip
    """The estimated mixture; DimensionMismatch unless all sketches have one length."""
    for each in (query, *candidates):
        check_length(each, len(query.values))
    own = query.floats().astype(np.float64)
    rows = np.array([each.floats() for each in candidates], np.float64).reshape(len(candidates), len(own))
    gram = gram_of_sketches(rows, np.array([each.bias for each in candidates]))
    norm2 = float(own @ own) - query.bias
    return solve_mixture(gram, rows @ own, norm2, method=method, max_members=max_members, min_gain=min_gain)
