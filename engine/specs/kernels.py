"""The Gaussian kernel k(x, y) = exp(-gamma ||x - y||^2), in numpy, for matching and routing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def squared_distances(left: Floats, right: Floats) -> NDArray[np.float64]:
    """||x_i - y_j||^2 as float64 (n, m) for (n, d) and (m, d); never negative."""
    x, y = np.asarray(left, np.float64), np.asarray(right, np.float64)
    squares = (x * x).sum(1)[:, None] + (y * y).sum(1)[None, :] - 2.0 * (x @ y.T)
    np.maximum(squares, 0.0, out=squares)
    return np.asarray(squares)


def gaussian(left: Floats, right: Floats, gamma: float) -> NDArray[np.float64]:
    """Kernel matrix (n, m), float64."""
    squares = squared_distances(left, right)
    squares *= -gamma
    return np.exp(squares, out=squares)
