"""Attacks on answers about an RKME that is not disclosed; shared by the tests and ``examples/benchmarks/oracle.py``.

The attacker knows the island, the kernel, the guard, the number of points, the public sketch, and rows like the secret
ones to start from. Every attack ends in a fit of all points and weights to all answers (Levenberg-Marquardt), the
strongest that we know: a kernel this wide has few peaks, but exact answers determine the points behind them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from atoll.engine.islands import Island
from atoll.engine.matching.oracle import effective_size
from atoll.engine.specs import Rkme, Sketch
from atoll.engine.specs.kernels import gaussian
from atoll.engine.specs.sketch import FREQUENCIES, frequencies
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.spatial import Voronoi
from scipy.spatial.distance import cdist

Doubles = NDArray[np.float64]
Oracle = Callable[[Rkme], float]  # what is told of MMD^2 to a query
SKETCH_ERROR = 1.4e-4  # of one number of a sketch, by rounding to int8
HEAVY = (0.24, 0.22, 0.2, 0.17, 0.14, 0.11, 0.08, 0.05)  # weights to try for the point that moves
ADMITTED = 16.0  # effective size of a cloud with it: one more than asked for, as it may come near another
CLOUDS = 4


@dataclass(frozen=True)
class Knowledge:
    """What is public of the secret, and rows (n, d) like those that it was made of."""

    island: Island
    points: int
    norm2: float
    sketch: Sketch
    rows: NDArray[np.float32]


def typical_gap(rows: NDArray[np.floating]) -> float:
    """The median distance of a row to the nearest other one."""
    distances = cdist(rows, rows)
    distances[distances < 1e-9] = np.inf
    return float(np.median(distances.min(axis=1)))


def recovered(secret: Rkme, guesses: Doubles, rows: NDArray[np.floating]) -> float:
    """The share of the secret's points with a guess within 10 % of the typical gap."""
    return float((cdist(secret.points, guesses).min(axis=1) <= 0.1 * typical_gap(rows)).mean())


def single_points(oracle: Oracle, known: Knowledge, queries: int, seed: int = 0) -> Doubles:
    """Ask about single points, fit to the answers, ask again about where the fit is; guesses (m, d)."""
    island, random = known.island, np.random.default_rng(seed)

    def density(positions: Doubles) -> Doubles:
        told = [oracle(_query(position[None], [1.0], island)) for position in positions]
        return (1.0 + known.norm2 - np.array(told)) / 2.0

    fit = Fit(known, random, error=1e-7)
    for count in (queries // 2, queries - queries // 2):
        positions = fit.positions(count).astype(np.float32).astype(np.float64)
        fit.learn(positions, density(positions))
        fit.improve(60)
    return fit.points


def moving_point(oracle: Oracle, known: Knowledge, queries: int, seed: int = 0, error: float = 1e-3) -> Doubles:
    """As :func:`single_points` through queries that the guard admits: wide clouds with one heavy point that moves.

    With the heavy point beyond everything the cloud's own share is known, and subtracted; several clouds dither the
    rounding. ``error`` is what the attacker believes one density found so to err by. Guesses (m, d).
    """
    island, random = known.island, np.random.default_rng(seed)
    clouds = [1.3 * random.standard_normal((60, island.dimension)) for _ in range(CLOUDS)]

    def cloud_with(position: Doubles, cloud: Doubles, heavy: float) -> Rkme:
        return _query(np.vstack([position, cloud]), [heavy, *np.full(len(cloud), (1.0 - heavy) / len(cloud))], island)

    beside = np.zeros(island.dimension)  # where clouds are densest
    heaviest = next(
        heavy for heavy in HEAVY if min(effective_size(cloud_with(beside, each, heavy)) for each in clouds) > ADMITTED
    )

    def share(cloud: Doubles, position: Doubles) -> float:
        query = cloud_with(position, cloud, heaviest)
        return (query.norm2 + known.norm2 - oracle(query)) / 2.0

    nothing = [share(cloud, np.full(island.dimension, 100.0)) for cloud in clouds]
    fit = Fit(known, random, error=error)
    for _ in range(2):
        positions = fit.positions((queries - CLOUDS) // (2 * CLOUDS))
        told = [
            [(share(cloud, position) - own) / heaviest for cloud, own in zip(clouds, nothing, strict=True)]
            for position in positions
        ]
        fit.learn(positions, np.mean(told, axis=1))
        fit.improve(40)
    return fit.points


def sketch_alone(known: Knowledge, start: Rkme | None = None, seed: int = 0) -> Doubles:
    """Fit to the public sketch, from rows or from an RKME (a stand-in that endless queries have told); guesses."""
    fit = Fit(known, np.random.default_rng(seed), error=1.0)
    if start is not None:
        fit.points, fit.weights = start.points.astype(np.float64), start.weights.astype(np.float64)
    fit.improve(60)
    return fit.points


def holes(given: Rkme) -> Doubles:
    """The middles of the gaps between the points of a stand-in (2 or 3 dimensions), where a true one may have been
    left out; guesses."""
    return Voronoi(given.points.astype(np.float64)).vertices


def projected(given: Rkme, known: Knowledge) -> list[Doubles]:
    """The points of a stand-in moved onto the leading 1, 2, ... principal directions of the rows, where true ones are;
    guesses for each."""
    middle, points = known.rows.mean(axis=0), given.points.astype(np.float64)
    axes = np.linalg.svd(known.rows - middle, full_matrices=False)[2].astype(np.float64)
    return [middle + (points - middle) @ axes[:k].T @ axes[:k] for k in range(1, len(axes) + 1)]


class Fit:
    """Points and weights of an RKME, fitted to densities that were found and to the public sketch."""

    def __init__(self, known: Knowledge, random: np.random.Generator, error: float) -> None:
        self._known, self._random, self._error = known, random, error
        self._gamma, dimension = known.island.gamma, known.island.dimension
        self._waves = frequencies(known.island.digest, dimension, self._gamma, 0)
        self._places, self._values = np.zeros((0, dimension)), np.zeros(0)
        self.points = known.rows[random.permutation(len(known.rows))[: known.points]].astype(np.float64)
        self.weights = np.full(known.points, 1.0 / known.points)

    def positions(self, count: int) -> Doubles:
        """Places (count, d) worth asking about: half around the points that are believed in, half anywhere near."""
        d = self.points.shape[1]
        near = self.points[self._random.integers(0, len(self.points), count // 2)]
        near = near + 0.5 / np.sqrt(self._gamma * d) * self._random.standard_normal(near.shape)
        return np.vstack([near, 1.3 * self._random.standard_normal((count - len(near), d))])

    def learn(self, places: Doubles, values: Doubles) -> None:
        self._places, self._values = np.vstack([self._places, places]), np.r_[self._values, values]

    def improve(self, rounds: int) -> None:
        """Levenberg-Marquardt steps until nothing is gained."""
        damping, state = 1e-3, (self.points, self.weights)
        residuals, jacobian = self._residuals(*state), self._jacobian(*state)
        for _ in range(rounds):
            normal, slope = jacobian.T @ jacobian, jacobian.T @ residuals
            for _ in range(8):
                trial = self._step(state, normal, slope, damping)
                new = self._residuals(*trial) if trial else None
                if trial and new is not None and new @ new < residuals @ residuals:
                    break
                damping *= 4.0
            else:
                break
            gain = 1.0 - (new @ new) / (residuals @ residuals)
            state, residuals, damping = trial, new, max(damping / 6.0, 1e-14)
            if gain < 1e-5:
                break
            jacobian = self._jacobian(*state)
        self.points, self.weights = state

    def _step(
        self, state: tuple[Doubles, Doubles], normal: Doubles, slope: Doubles, damping: float
    ) -> tuple[Doubles, Doubles] | None:
        points, weights = state
        scale = np.maximum(np.diag(normal), 1e-12 * normal.max())
        try:
            step = cho_solve(cho_factor(normal + damping * np.diag(scale)), -slope)
        except LinAlgError:
            return None
        return points + step[: points.size].reshape(points.shape), np.maximum(weights + step[points.size :], 1e-5)

    def _residuals(self, points: Doubles, weights: Doubles) -> Doubles:
        angles = points @ self._waves.T
        sketched = np.r_[weights @ np.cos(angles), weights @ np.sin(angles)] / np.sqrt(FREQUENCIES)
        density = gaussian(self._places, points, self._gamma) @ weights
        return np.r_[
            (density - self._values) / self._error,
            (sketched - self._known.sketch.floats()) / SKETCH_ERROR,
            (weights.sum() - 1.0) * 1e3,
        ]

    def _jacobian(self, points: Doubles, weights: Doubles) -> Doubles:
        kernel = gaussian(self._places, points, self._gamma)
        moved = 2.0 * self._gamma * (kernel * weights)[:, :, None] * (self._places[:, None] - points)
        found = np.hstack([moved.reshape(len(kernel), points.size), kernel]) / self._error
        angles = self._waves @ points.T
        turned = np.vstack([-np.sin(angles) * weights, np.cos(angles) * weights])
        turned = (turned[:, :, None] * np.vstack([self._waves] * 2)[:, None]).reshape(2 * FREQUENCIES, points.size)
        waves = np.hstack([turned, np.vstack([np.cos(angles), np.sin(angles)])]) / np.sqrt(FREQUENCIES) / SKETCH_ERROR
        total = np.r_[np.zeros(points.size), np.full(len(weights), 1e3)]
        return np.vstack([found, waves, total])


def _query(points: Doubles, weights: list[float], island: Island) -> Rkme:
    return Rkme(points.astype(np.float32), np.array(weights, np.float32), island.gamma, 1000)
