"""Kernel herding: samples that follow the distribution an RKME stands for (Chen, Welling and Smola 2010)."""

from __future__ import annotations

import numpy as np
from atoll.engine.errors import SpecificationError
from atoll.engine.specs.kernels import gaussian
from atoll.engine.specs.rkme import Rkme
from numpy.typing import NDArray

SPREAD = 0.5  # length of the step from a point to a candidate, in kernel widths (2 gamma)^(-1/2)
CANDIDATES = 20  # for each sample
MAX_SAMPLES = 10_000


def herd(rkme: Rkme, count: int, seed: int = 0, spread: float = SPREAD) -> NDArray[np.float32]:
    """``count`` samples, float32 (count, d).

    Candidates come from the mixture of N(z_i, s^2 I); sample t + 1 is the argmax of (t + 1) f(x) - sum_s k(s, x), whose
    sums are kept up to date: O(candidates * count).
    """
    if not 1 <= count <= MAX_SAMPLES or not spread >= 0:
        raise SpecificationError(f"1 to {MAX_SAMPLES} samples can be drawn, with a spread of 0 or more, not {count}")
    random = np.random.default_rng(seed)
    weights = rkme.weights.astype(np.float64)
    homes = random.choice(len(weights), CANDIDATES * count, p=weights / weights.sum())
    noise = random.standard_normal((len(homes), rkme.dimension)) * spread / np.sqrt(2.0 * rkme.gamma * rkme.dimension)
    candidates = rkme.points[homes] + noise
    density = gaussian(candidates, rkme.points, rkme.gamma) @ weights
    taken, sums = np.zeros(count, np.int64), np.zeros(len(candidates))
    for place in range(count):
        taken[place] = np.argmax((place + 1) * density - sums)
        sums += gaussian(candidates, candidates[taken[place]][None], rkme.gamma)[:, 0]
    return np.asarray(candidates[taken], dtype=np.float32)
