"""Made-up rows with structure, for the benchmarks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def clustered(n: int, d: int, seed: int = 0, clusters: int = 20) -> NDArray[np.float32]:
    """Rows from a mixture of unequal Gaussian clusters, standardised: real tables are not one blob."""
    random = np.random.default_rng(seed)
    centres, spread = random.normal(size=(clusters, d)), random.uniform(0.3, 0.7, (clusters, 1))
    homes = random.choice(clusters, n, p=random.dirichlet(np.ones(clusters)))
    rows = centres[homes] + spread[homes] * random.normal(size=(n, d))
    return ((rows - rows.mean(0)) / rows.std(0)).astype(np.float32)
