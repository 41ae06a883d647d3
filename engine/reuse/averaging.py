"""Combining the outputs of several learnwares (Beimingwu's AveragingReuser, and weighted by routing)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Outputs = Sequence[NDArray[np.floating]]


def mean(outputs: Outputs, weights: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
    """Weighted mean of k outputs (n, c); ``weights`` is (n, k), (k,) or None for equal. Returns (n, c)."""
    stacked = np.stack([np.asarray(output, np.float64) for output in outputs], axis=1)
    return np.asarray(np.einsum("nk,nkc->nc", _weights(stacked, weights), stacked))


def vote_by_label(outputs: Outputs, weights: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
    """Each member gives its whole vote to its most probable class; shares of votes (n, c)."""
    ballots = [np.eye(output.shape[1])[np.asarray(output).argmax(1)] for output in outputs]
    return mean(ballots, weights)


def vote_by_prob(outputs: Outputs, weights: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
    """Mean of the members' probabilities, normalised by row; (n, c)."""
    total = mean(outputs, weights)
    sums = total.sum(axis=1, keepdims=True)
    return np.asarray(total / np.where(sums > 0, sums, 1.0))


def _weights(stacked: NDArray[np.float64], weights: NDArray[np.floating] | None) -> NDArray[np.float64]:
    n, k, _ = stacked.shape
    if weights is None:
        return np.full((n, k), 1.0 / k)
    given = np.broadcast_to(np.asarray(weights, np.float64), (n, k))
    return np.asarray(given / given.sum(axis=1, keepdims=True))
