"""Where the points of an RKME start: random combinations of many rows, never a row or the mean of a few.

The rows are split into a few large groups; a group's points are its mean plus random combinations of all its rows,
which have the group's covariance and hide who is in it. Where rows are few for the directions they fill, noise of
the columns' own spread takes the place of part of the combination.
"""

from __future__ import annotations

import warnings

import numpy as np
from atoll.engine.specs.kernels import squared_distances
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

GROUP_ROWS = 60
MAX_GROUPS = 32
CLUSTERED = 1500  # rows that the groups are found on
LEAST_DIRECTIONS = 8  # heavy tails look like fewer than they are
FULL_MIX = 16.0  # rows for each direction, from which on combinations need no noise
Floats = NDArray[np.float32]


def starting_points(sample: Floats, size: int, directions: float, random: np.random.Generator) -> Floats:
    """``size`` points (size, d) for a uniform ``sample`` (n, d) of the rows; ``directions`` as in
    :func:`combinations`."""
    labels = _groups(sample, int(random.integers(2**31)))
    shares = _shares(np.bincount(labels), size)
    parts = [
        combinations(sample[labels == group], int(share), directions, random) for group, share in enumerate(shares)
    ]
    return np.concatenate(parts)


def combinations(rows: Floats, size: int, directions: float, random: np.random.Generator) -> Floats:
    """``size`` random points (size, d) with the mean and about the covariance of ``rows``.

    ``directions`` is the :func:`effective_dimension` of the sample that the rows are of.
    """
    centre, count = rows.mean(axis=0), len(rows)
    mixed = random.standard_normal((size, count)).astype(np.float32) @ (rows - centre) / np.float32(np.sqrt(count))
    share = min(1.0, np.sqrt(count / (FULL_MIX * directions)))
    if share < 1.0:
        noise = random.standard_normal(mixed.shape).astype(np.float32) * rows.std(axis=0)
        mixed = np.float32(share) * mixed + np.float32(np.sqrt(1.0 - share * share)) * noise
    return np.asarray(centre + mixed, dtype=np.float32)


def effective_dimension(sample: Floats) -> float:
    """In how many directions the rows spread, by how alike their distances from the centre are: 2 (median / spread)^2
    of the squared distances, which is d for an isotropic Gaussian. The more alike, the more a small pull shows."""
    squares = np.square(sample - sample.mean(axis=0), dtype=np.float64).sum(axis=1)
    low, middle, high = np.percentile(squares, [25, 50, 75])
    spread = (high - low) / 1.349
    least = float(min(LEAST_DIRECTIONS, sample.shape[1]))
    return max(least, float(2.0 * (middle / spread) ** 2)) if spread > 1e-6 * middle else least


def _groups(sample: Floats, seed: int) -> NDArray[np.int64]:
    """A group for each row; every group is large."""
    few = min(len(sample) // GROUP_ROWS, MAX_GROUPS)
    seen = sample[:CLUSTERED]
    if few < 2 or (seen == seen[0]).all():
        return np.zeros(len(sample), np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than groups: empty ones, no harm
        found = KMeans(few, init="random", n_init=1, max_iter=5, random_state=seed).fit(seen)
    labels = found.predict(sample).astype(np.int64)
    counts = np.bincount(labels, minlength=few)
    large = np.flatnonzero(counts >= GROUP_ROWS // 4)
    if len(large) in (0, few):
        return labels if len(large) else np.zeros(len(sample), np.int64)
    squares = squared_distances(sample, found.cluster_centers_[large])
    return np.asarray(squares.argmin(axis=1), dtype=np.int64)


def _shares(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """``size`` split in proportion to ``counts``, by largest remainder."""
    exact = counts * size / counts.sum()
    shares = np.floor(exact).astype(np.int64)
    missing = size - int(shares.sum())
    shares[np.argsort(shares - exact, kind="stable")[:missing]] += 1
    return np.asarray(shares, dtype=np.int64)
