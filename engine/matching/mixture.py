"""One mixture over several learnwares: w = argmin w'Gw - 2c'w with w >= 0, sum w <= 1.

All members of one solve must be in one representation, all exact or all sketches: mixing the two was measured to be
several times worse (algorithms: matching). ``mixture_of_rkmes`` and ``mixture_of_sketches`` see to it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from atoll.engine.errors import DimensionMismatch, NotFinite, SpecificationError
from atoll.engine.matching import greedy
from atoll.engine.matching.weights import Floats, Mixture, mixture, weigh

Method = Literal["greedy", "auto", "full"]
MAX_MEMBERS = 5
MIN_GAIN = 0.05  # a further member must lower MMD^2 by this share
KEPT_MASS = 0.98  # "auto" keeps the heaviest members that together have this share of the weight


def solve_mixture(
    gram: Floats, cross: Floats, norm2: float,
    *, method: Method = "greedy", max_members: int = MAX_MEMBERS, min_gain: float = MIN_GAIN,
) -> Mixture:  # fmt: skip
    """``gram`` (k, k) holds <P_i, P_j>, ``cross`` (k,) holds <user, P_i>, ``norm2`` is <user, user>.

    "greedy" adds the member that lowers MMD^2 most while it does so by the share ``min_gain``; "auto" weighs all
    candidates at once, keeps 98 % of the weight (at most ``max_members``) and weighs those again; "full" keeps every
    candidate that has weight.
    """
    gram, cross = np.asarray(gram, np.float64), np.asarray(cross, np.float64)
    _check(gram, cross, norm2, max_members)
    if method == "greedy":
        return greedy.select(gram.__getitem__, np.diag(gram), cross, norm2, max_members, min_gain)
    weights = weigh(gram, cross)
    members = np.arange(len(cross))
    if method == "auto":
        members = _heaviest(weights, max_members)
        gram, cross = gram[np.ix_(members, members)], cross[members]
        weights = weigh(gram, cross)
    return mixture(members.tolist(), weights, gram, cross, norm2)


def _heaviest(weights: Floats, max_members: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Places of the largest weights, until they have KEPT_MASS of the total, ascending."""
    order = np.argsort(-weights, kind="stable")
    mass = np.cumsum(weights[order])
    needed = int(np.searchsorted(mass, KEPT_MASS * mass[-1])) + 1 if len(mass) else 0
    return np.sort(order[: min(needed, max_members)])


def _check(gram: Floats, cross: Floats, norm2: float, max_members: int) -> None:
    if cross.ndim != 1 or gram.shape != (len(cross), len(cross)):
        raise DimensionMismatch(f"gram {gram.shape} and cross {cross.shape}: expected (k, k) and (k,)")
    if not (np.isfinite(gram).all() and np.isfinite(cross).all() and np.isfinite(norm2)):
        raise NotFinite("the inner products of a mixture hold NaN or infinite values")
    if max_members < 1:
        raise SpecificationError(f"a mixture of at most {max_members} members: expected 1 or more")
