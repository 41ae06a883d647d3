"""Fitting an RKME: k-means++ start, then weights by QP and points by L-BFGS on the true gradient of MMD^2.

dMMD^2/dz_j = -4 gamma b_j [ sum_l b_l k(z_j,z_l)(z_j - z_l) - (1/n) sum_i k(z_j,x_i)(z_j - x_i) ] (algorithms: fit).
Rule 1 of the privacy gate is kept here: at least five rows stand behind every point.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from atoll.engine.errors import NotFinite, PrivacyRefusal, SpecificationError
from atoll.engine.specs.quadratic import minimise
from atoll.engine.specs.rkme import Rkme
from numpy.typing import NDArray
from scipy import optimize
from sklearn.cluster import KMeans, MiniBatchKMeans

ROWS_PER_POINT = 5
ROUNDS = 12  # alternations of weights and points
STEPS = 10  # L-BFGS iterations a round
TOLERANCE = 1e-4  # stop when a round gains less than this share of the objective
MINIBATCH_ABOVE = 20_000


def fit_rkme(X: Any, size: int = 100, gamma: float | None = None, seed: int = 0, impute: str | None = None) -> Rkme:
    """Summarise rows ``X`` (n, d), in island units, by at most ``size`` points.

    gamma None means 1/d. Fewer points come back where the rows do not allow more: five rows behind each.
    The same rows, parameters and seed give the same bytes on the same platform.
    Raises NotFinite on NaN or inf (unless ``impute="mean"``), PrivacyRefusal below five rows.
    """
    rows = _clean(X, impute)
    width = 1.0 / rows.shape[1] if gamma is None else float(gamma)
    if size < 1 or not width > 0:
        raise SpecificationError(f"size {size} and gamma {width} must be positive")
    points = torch.from_numpy(_start(rows, size, seed))
    data = torch.from_numpy(rows)
    weights = _weights(points, data, width)
    value = _objective(points, weights, data, width)
    for _ in range(ROUNDS):
        moved = _descend(points, weights, data, width)
        new_weights = _weights(moved, data, width)
        new_value = _objective(moved, new_weights, data, width)
        if not new_value < value - TOLERANCE * abs(value):
            break
        points, weights, value = moved, new_weights, new_value
    return _finished(points, weights, width, len(rows))


def _clean(X: Any, impute: str | None) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and is refused as that
        rows = np.array(X, dtype=np.float32, copy=True, order="C")
    if rows.ndim != 2 or 0 in rows.shape:
        raise SpecificationError(f"rows must be a matrix (n, d), got shape {rows.shape}")
    if len(rows) < ROWS_PER_POINT:
        raise PrivacyRefusal(
            f"{len(rows)} rows are too few: {ROWS_PER_POINT} rows must stand behind every point that is published"
        )
    finite = np.isfinite(rows)
    if finite.all():
        return rows
    if impute != "mean":
        bad = np.flatnonzero(~finite.all(axis=0))
        raise NotFinite(
            f"{int((~finite).sum())} cells are NaN or infinite, in columns {bad[:8].tolist()}",
            hint='clean them, or pass impute="mean"',
        )
    counts = np.maximum(finite.sum(axis=0), 1)
    means = np.where(finite, rows, 0.0).sum(axis=0) / counts
    return np.where(finite, rows, means).astype(np.float32)


def _start(rows: NDArray[np.float32], size: int, seed: int) -> NDArray[np.float32]:
    """Cluster centres, without those that fewer than five rows chose."""
    size = min(size, len(rows) // ROWS_PER_POINT, len(np.unique(rows, axis=0)))
    kind = MiniBatchKMeans if len(rows) > MINIBATCH_ABOVE else KMeans
    clusters = kind(n_clusters=size, n_init=1, max_iter=50, random_state=seed).fit(rows)
    centres, labels = clusters.cluster_centers_, clusters.labels_
    while len(centres) > 1:
        counts = np.bincount(labels, minlength=len(centres))
        if counts.min() >= ROWS_PER_POINT:
            break
        centres = np.delete(centres, counts.argmin(), axis=0)
        labels = torch.cdist(torch.from_numpy(rows), torch.from_numpy(centres.astype(np.float32))).argmin(1).numpy()
    return np.ascontiguousarray(centres, dtype=np.float32)


def _kernel(left: torch.Tensor, right: torch.Tensor, gamma: float) -> torch.Tensor:
    squares = (left * left).sum(1)[:, None] + (right * right).sum(1)[None, :] - 2.0 * (left @ right.T)
    return torch.exp(-gamma * squares.clamp_min_(0.0))


def _weights(points: torch.Tensor, data: torch.Tensor, gamma: float) -> torch.Tensor:
    gram = _kernel(points, points, gamma).double().numpy()
    target = _kernel(points, data, gamma).mean(1).double().numpy()
    return torch.from_numpy(minimise(gram, target, total_is_one=True)).float()


def _objective(points: torch.Tensor, weights: torch.Tensor, data: torch.Tensor, gamma: float) -> float:
    """MMD^2 to the data up to the constant <X, X>."""
    self_term = weights @ _kernel(points, points, gamma) @ weights
    return float(self_term - 2.0 * weights @ _kernel(points, data, gamma).mean(1))


def _descend(points: torch.Tensor, weights: torch.Tensor, data: torch.Tensor, gamma: float) -> torch.Tensor:
    """Points after a few steps of L-BFGS. scipy's: torch.optim loads torch's compiler, which takes a second."""

    def value_and_gradient(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        moved = torch.from_numpy(flat.astype(np.float32)).view_as(points)
        own, cross = _kernel(moved, moved, gamma) * weights, _kernel(moved, data, gamma) / len(data)
        pull_own = moved * own.sum(1, keepdim=True) - own @ moved
        pull_data = moved * cross.sum(1, keepdim=True) - cross @ data
        gradient = -4.0 * gamma * weights[:, None] * (pull_own - pull_data)
        value = float(weights @ own.sum(1) - 2.0 * weights @ cross.sum(1))
        return value, gradient.double().numpy().ravel()

    start = points.double().numpy().ravel()
    found = optimize.minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    return torch.from_numpy(found.x.astype(np.float32)).view_as(points)


def _finished(points: torch.Tensor, weights: torch.Tensor, gamma: float, count: int) -> Rkme:
    """Points without weight say nothing and are dropped; order by weight, so equal fits give equal bytes."""
    keep = weights > 1e-6
    kept, mass = points[keep].numpy(), weights[keep].double().numpy()
    order = np.argsort(-mass, kind="stable")
    return Rkme(kept[order], (mass[order] / mass.sum()).astype(np.float32), gamma, count)
