"""Soft routing: each row weighs the members by the posterior that it came from their distribution.

p_i(x) ~ w_i f_i(x). Form (a), disclosed RKMEs: f_i(x) = sum_j b_j k(x, z_j) under a narrower kernel, 8/d.
Form (b), sketches only: density ratio by uLSIF (Kanamori et al. 2009) in sketch features. The forms are not
comparable: all members of one routing are in one form (algorithms: reuse).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from atoll.engine.islands import Island
from atoll.engine.specs.kernels import squared_distances
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.sketch import BLOCK, Sketch, features
from numpy.typing import NDArray

NARROWER = 8.0  # gamma_route = 8 / d, where gamma is 1 / d: points that the privacy gate has smoothed want it narrower
RIDGE = 1e-2
CUT = 0.02  # below this a member's say in a row is not worth the row's journey


def route_by_rkme(rows: NDArray[np.floating], members: Sequence[Rkme], weights: Sequence[float]) -> NDArray[np.float64]:
    """Posterior (n, k) of the members for ``rows`` (n, d) in island units; each row sums to 1."""
    logs = np.stack([_log_density(rows, member) for member in members], axis=1)
    logs += np.log(np.maximum(np.asarray(weights, np.float64), 1e-300))
    logs -= logs.max(axis=1, keepdims=True)
    return _normalised(np.exp(logs), weights)


def _log_density(rows: NDArray[np.floating], member: Rkme) -> NDArray[np.float64]:
    """log sum_j b_j k(x, z_j), by log-sum-exp: far rows must not underflow to a tie."""
    logs = -NARROWER * member.gamma * squared_distances(rows, member.points)
    logs += np.log(np.maximum(member.weights.astype(np.float64), 1e-300))
    top = logs.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.exp(logs - top).sum(axis=1)) + top[:, 0])


def route_by_sketch(
    rows: NDArray[np.floating], island: Island, sketches: Sequence[Sketch], weights: Sequence[float]
) -> NDArray[np.float64]:
    """Posterior (n, k) from sketches of one length: r_i(x) = phi(x)'(S + lambda I)^-1 s_i, negatives cut at 0."""
    blocks = len(sketches[0].values) // BLOCK
    phi = features(rows, island, blocks) / np.sqrt(blocks)
    S = phi.T @ phi / len(phi) + RIDGE * np.eye(phi.shape[1])
    ratios = np.maximum(phi @ np.linalg.solve(S, np.array([each.floats() for each in sketches], np.float64).T), 0.0)
    return _normalised(ratios * np.asarray(weights, np.float64), weights)


def sparse(posterior: NDArray[np.float64], cut: float = CUT) -> NDArray[np.float64]:
    """The posterior without the members that hardly matter to a row, renormalised."""
    kept = np.where(posterior >= min(cut, 1.0 / posterior.shape[1]), posterior, 0.0)
    return np.asarray(kept / kept.sum(axis=1, keepdims=True))


def _normalised(scores: NDArray[np.float64], weights: Sequence[float]) -> NDArray[np.float64]:
    """Rows summing to 1; a row that no member claims falls back on the mixture weights."""
    prior = np.asarray(weights, np.float64)
    totals = scores.sum(axis=1, keepdims=True)
    return np.where(totals > 0, scores / np.where(totals > 0, totals, 1.0), prior / prior.sum())
