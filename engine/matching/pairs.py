"""Squared distances between many sketches, as floats, a block at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BATCH = 256  # rows at a time: 10 MB of distances to 10 000 others


def squares(rows: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, m) of ``rows`` (n, width) and ``others`` (m, width)."""
    found = rows @ others.T
    found *= -2.0
    found += np.einsum("ij,ij->i", rows, rows)[:, None]
    found += np.einsum("ij,ij->i", others, others)
    return np.asarray(np.maximum(found, 0.0, out=found))
