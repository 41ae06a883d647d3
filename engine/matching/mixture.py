"""One mixture over several learnwares: w = argmin w'Gw - 2c'w with w >= 0, sum w <= 1.

The missing mass 1 - sum w is what no learnware covers. All members of one solve are in one representation,
all exact or all sketches: mixing the two was measured to be several times worse (algorithms: matching).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from atoll.engine.specs.quadratic import minimise
from numpy.typing import NDArray

MAX_MEMBERS = 5
MIN_GAIN = 0.05  # a further member must lower MMD^2 by this share


@dataclass(frozen=True)
class Mixture:
    """``members`` index the candidates, ``weights`` belong to them; ``mmd2`` is between user and mixture."""

    members: tuple[int, ...]
    weights: tuple[float, ...]
    mmd2: float
    uncovered: float


def solve_mixture(
    gram: NDArray[np.float64], cross: NDArray[np.float64], norm2: float,
    *, max_members: int = MAX_MEMBERS, min_gain: float = MIN_GAIN,
) -> Mixture:  # fmt: skip
    """Greedy forward selection, re-solving all weights at each step.

    ``gram`` (k, k) holds <P_i, P_j>, ``cross`` (k,) holds <user, P_i>, ``norm2`` is <user, user>.
    """
    chosen: tuple[int, ...] = ()
    best = Mixture((), (), max(norm2, 0.0), 1.0)
    while len(chosen) < min(max_members, len(cross)):
        rest = [place for place in range(len(cross)) if place not in chosen]
        step = min((_solve(gram, cross, norm2, (*chosen, place)) for place in rest), key=lambda m: (m.mmd2, m.members))
        if step.mmd2 > best.mmd2 * (1.0 - min_gain) or best.mmd2 <= 1e-12:
            break
        chosen, best = step.members, step
    return _without_zeros(best)


def _solve(gram: NDArray[np.float64], cross: NDArray[np.float64], norm2: float, members: tuple[int, ...]) -> Mixture:
    picked = list(members)
    G, c = gram[np.ix_(picked, picked)], cross[picked]
    w = minimise(G, c, total_is_one=False)
    value = float(w @ G @ w - 2.0 * c @ w + norm2)
    return Mixture(members, tuple(map(float, w)), max(value, 0.0), max(0.0, 1.0 - float(w.sum())))


def _without_zeros(mixture: Mixture) -> Mixture:
    kept = sorted(
        ((w, m) for m, w in zip(mixture.members, mixture.weights, strict=True) if w > 1e-6),
        key=lambda pair: (-pair[0], pair[1]),
    )
    return Mixture(tuple(m for _, m in kept), tuple(w for w, _ in kept), mixture.mmd2, mixture.uncovered)
