"""A stand-in: an RKME that says what another says of the distribution, with none of its points.

Everything that is told about an RKME that is not disclosed, its sketch and its distances to any query, is computed from
its stand-in. However many answers somebody combines, they determine the stand-in at most; noise or rounding on answers
about the RKME itself can be averaged away. Measured by ``examples/benchmarks/oracle.py``.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from atoll.engine.specs.kernels import gaussian, squared_distances
from atoll.engine.specs.quadratic import minimise
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.sketch import Normals
from numpy.typing import NDArray
from scipy.special import ndtr

DOMAIN = b"atoll/stand-in/1\0"
AWAY = (0.25, 0.5)  # from each point, in distances to the nearest other one (or their median); beyond, holes show
NEIGHBOURS = 10  # which span the directions to leave a point in: what is off the data is removed by projection
LEAST = 0.05  # in 1 / sqrt(gamma), where points coincide
STEPS = 40
PASSES = 50
KEPT = 1024

Doubles = NDArray[np.float64]


@lru_cache(maxsize=KEPT)
def stand_in(rkme: Rkme) -> Rkme:
    """The stand-in of an RKME, always the same one: MMD^2 between the two is about 0.0001 (d = 2) to 0.003 (d = 30).

    None of its points is nearer to one of the RKME than a quarter of that one's distance to the nearest other point.
    The place of each depends on all bytes of the RKME, which are secret and cannot be guessed; the same RKME published
    again, or restored from a backup, gets the same one, so that two of them cannot be averaged either.
    """
    true, weights = rkme.points.astype(np.float64), rkme.weights.astype(np.float64)
    stream = Normals(hashlib.sha256(DOMAIN + rkme.to_bytes()).digest())
    directions = _directions(true, stream)
    low, high = AWAY
    radii = _spacing(true, rkme.gamma) * (low + (high - low) * ndtr(stream.draw(len(true))))
    points = true + directions * radii[:, None]
    for _ in range(STEPS):
        points = _outside(points + _descent(points, true, weights, rkme.gamma), true, radii, directions, passes=1)
    points = _outside(points, true, radii, directions, passes=PASSES).astype(np.float32)
    away = _share(points, true, radii).min(axis=1) > 1.0 - 1e-3
    return _weighted(points[away] if away.any() else _around(true, radii, directions), rkme)


def _directions(points: Doubles, stream: Normals) -> Doubles:
    """Random unit vectors (m, d), each in the span of what leads from its point to the nearest others."""
    count = min(NEIGHBOURS, len(points) - 1)
    nearest = np.argsort(squared_distances(points, points), axis=1, kind="stable")[:, 1 : count + 1]
    factors = stream.draw(len(points) * count).reshape(len(points), count)
    spanned = np.einsum("jk,jkd->jd", factors, points[nearest] - points[:, None])
    anywhere = stream.draw(points.size).reshape(points.shape)
    lengths = np.linalg.norm(spanned, axis=1, keepdims=True)
    directions = np.where(lengths > 1e-6, spanned, anywhere)
    return np.asarray(directions / np.linalg.norm(directions, axis=1, keepdims=True))


def _spacing(points: Doubles, gamma: float) -> Doubles:
    """Distance of each point (m, d) to the nearest other one, at least their median, and never nothing: (m,)."""
    squares = squared_distances(points, points)
    np.fill_diagonal(squares, np.inf)
    nearest = np.sqrt(squares.min(axis=1)) if len(points) > 1 else np.full(1, gamma**-0.5)
    return np.asarray(np.maximum(nearest, max(float(np.median(nearest)), LEAST * gamma**-0.5)))


def _descent(points: Doubles, true: Doubles, weights: Doubles, gamma: float) -> Doubles:
    """A step (m, d) along the negative gradient of MMD^2 (algorithms: RKME), as long as a step of mean shift."""
    own, other = gaussian(points, points, gamma) * weights, gaussian(points, true, gamma) * weights
    pushed = own.sum(axis=1)[:, None] * points - own @ points
    pulled = other.sum(axis=1)[:, None] * points - other @ true
    return np.asarray((pushed - pulled) / np.maximum(other.sum(axis=1), 1e-12)[:, None])


def _share(points: NDArray[np.floating], true: Doubles, radii: Doubles) -> Doubles:
    """Distances (m, m) of the points from the true ones, in the radii of those; below 1 is too near."""
    return np.asarray(np.sqrt(squared_distances(points, true)) / radii)


def _outside(points: Doubles, true: Doubles, radii: Doubles, directions: Doubles, passes: int) -> Doubles:
    """The points, those too near to a true one moved straight away from it (if on it, in their own direction); which
    may take several passes, and never end between two."""
    points = points.copy()
    for _ in range(passes):
        share = _share(points, true, radii)
        nearest = share.argmin(axis=1)
        inside = np.flatnonzero(share[np.arange(len(points)), nearest] < 1.0)
        if not len(inside):
            break
        centres = true[nearest[inside]]
        offsets = points[inside] - centres
        lengths = np.linalg.norm(offsets, axis=1, keepdims=True)
        offsets = np.where(lengths > 1e-9, offsets / np.maximum(lengths, 1e-9), directions[inside])
        points[inside] = centres + offsets * radii[nearest[inside], None]
    return points


def _around(true: Doubles, radii: Doubles, directions: Doubles) -> NDArray[np.float32]:
    """Where there is no room between the points: a sphere around all of them (m, d)."""
    middle = true.mean(axis=0)
    reach = float((np.linalg.norm(true - middle, axis=1) + radii).max())
    return np.asarray((middle + reach * directions).astype(np.float32))


def _weighted(points: NDArray[np.float32], rkme: Rkme) -> Rkme:
    if len(points) == 1:
        return Rkme(points, np.ones(1, np.float32), rkme.gamma, rkme.count)
    cross = gaussian(points, rkme.points, rkme.gamma) @ rkme.weights.astype(np.float64)
    mass = minimise(gaussian(points, points, rkme.gamma), cross, total_is_one=True)
    order = np.argsort(-mass, kind="stable")
    order = order[mass[order] > 1e-6]
    return Rkme(points[order], (mass[order] / mass[order].sum()).astype(np.float32), rkme.gamma, rkme.count)
