"""Moving the points of an RKME: L-BFGS on the true gradient of MMD^2, all points weighing the same.

dMMD^2/dz_j = -4 gamma b_j [ sum_l b_l k(z_j,z_l)(z_j - z_l) - (1/n) sum_i k(z_j,x_i)(z_j - x_i) ] (algorithms: fit).
Equal weights keep every point in use and the problem well conditioned; the weights are solved for once, afterwards.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

CHUNK = 512  # rows: their kernel values against 100 points stay in the cache
TOLERANCE = 2e-7  # stop when a step lowers MMD^2 by less than this
Floats = NDArray[np.float32]


class Lifted:
    """Rows (n, d) with two columns more, so that one matrix product gives -gamma ||x - z||^2."""

    def __init__(self, rows: Floats, gamma: float) -> None:
        self.matrix = np.empty((len(rows), rows.shape[1] + 2), np.float32)
        self.matrix[:, :-2] = rows
        self.matrix[:, -2] = 1.0
        self.matrix[:, -1] = -gamma * np.einsum("ij,ij->i", rows, rows)

    def __len__(self) -> int:
        return len(self.matrix)


def lifted_points(points: Floats, gamma: float) -> Floats:
    """Points (m, d) as the other factor of that product."""
    matrix = np.empty((len(points), points.shape[1] + 2), np.float32)
    matrix[:, :-2] = 2.0 * gamma * points
    matrix[:, -2] = -gamma * np.einsum("ij,ij->i", points, points)
    matrix[:, -1] = 1.0
    return matrix


def kernel_sums(points: Floats, rows: Lifted, gamma: float) -> tuple[Floats, Floats]:
    """sum_i k(z_j, x_i) x_i (m, d) and sum_i k(z_j, x_i) (m,), in chunks that stay in the cache."""
    factor = lifted_points(points, gamma)
    total = np.zeros((len(points), rows.matrix.shape[1] - 1), np.float32)
    for start in range(0, len(rows), CHUNK):
        chunk = rows.matrix[start : start + CHUNK]
        values = factor @ chunk.T
        np.exp(values, out=values)
        total += values @ chunk[:, :-1]
    return total[:, :-1], total[:, -1]


def descend(points: Floats, rows: Lifted, gamma: float, steps: int) -> Floats:
    """``points`` (m, d) after at most ``steps`` iterations of L-BFGS towards ``rows``; scipy's implementation."""
    weight = 1.0 / len(points)

    def value_and_gradient(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        moved = flat.astype(np.float32).reshape(points.shape)
        factor = lifted_points(moved, gamma)
        own = np.exp(factor[:, :-2] @ moved.T + factor[:, -2, None] + factor[:, -2]) * np.float32(weight)
        pulls, masses = kernel_sums(moved, rows, gamma)
        share = np.float32(1.0 / len(rows))
        pull, mass, own_mass = pulls * share, masses * share, own.sum(1)
        gradient = moved * (own_mass - mass)[:, None] - own @ moved + pull
        value = weight * float(own_mass.sum() - 2.0 * mass.sum())
        return value, (-4.0 * gamma * weight * gradient).astype(np.float64).ravel()

    if steps < 1:
        return points
    options = {"maxiter": steps, "ftol": TOLERANCE, "gtol": 0.0}
    start = points.astype(np.float64).ravel()
    found = optimize.minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x.astype(np.float32).reshape(points.shape))
