"""How likely rows are under each member's specification, in one of two forms that are not comparable.

Disclosed RKMEs: f_i(x) = sum_j b_j k(x, z_j) under a narrower kernel. Sketches: the density ratio to the user's rows by
uLSIF (Kanamori et al. 2009) in sketch features. Both are linear in the rows and hold one chunk of kernel values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from atoll.engine.errors import SpecificationError
from atoll.engine.islands import Island
from atoll.engine.reuse.reuser import Doubles, Floats
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.sketch import BLOCK, Sketch, frequencies
from scipy.linalg import solve

NARROWER = 4.0  # gamma_route = 4 / d, where gamma is 1 / d: rows want a narrower kernel than distributions
RIDGE = 1e-2
CELLS = 2**20  # kernel values held at once
SAMPLE = 4096  # rows that say what the user's rows are like; more change nothing measurable
LEAST = 1e-30
NOTHING = -80.0  # logarithm of a share that is none; below, floats are denormal, and slow


class Densities(Protocol):
    def fit(self, units: Floats) -> None: ...

    def logs(self, units: Floats) -> Doubles:
        """log f_i(x) up to one constant per row: (n, k)."""
        ...

    def likeness(self, units: Floats) -> Doubles:
        """<phi(x), P_i> / <P_i, P_i>, (n, k): 1 on average over the rows that member i is made of."""
        ...


class RkmeDensities:
    """Of disclosed RKMEs (or stand-ins): nothing to fit."""

    def __init__(self, members: Sequence[Rkme]) -> None:
        self._members = [(member.points, member.gamma, np.maximum(member.weights, LEAST)) for member in members]
        self._ends = np.cumsum([len(member.points) for member in members])
        self._norms = np.array([member.norm2 for member in members])

    def fit(self, units: Floats) -> None:
        return None

    def logs(self, units: Floats) -> Doubles:
        return self._mixed(units, NARROWER)

    def likeness(self, units: Floats) -> Doubles:
        return np.asarray(np.exp(self._mixed(units, 1.0)) / self._norms)

    def _mixed(self, units: Floats, narrower: float) -> Doubles:
        """log sum_j b_j k(x, z_j), by log-sum-exp: far rows must not underflow to a tie."""
        lifted, gammas = self._lifted(narrower)
        found = np.empty((len(units), len(self._ends)))
        step = max(1, CELLS // len(lifted))
        for start in range(0, len(units), step):
            rows = np.asarray(units[start : start + step], np.float32)
            logs = lifted[:, :-1] @ rows.T
            logs += lifted[:, -1:]
            for place, part in enumerate(np.split(logs, self._ends[:-1])):
                tops = part.max(axis=0)
                part -= tops
                np.maximum(part, NOTHING, out=part)
                found[start : start + step, place] = np.log(np.exp(part, out=part).sum(axis=0)) + tops
            found[start : start + step] -= (rows * rows).sum(axis=1)[:, None] * gammas
        return found

    def _lifted(self, narrower: float) -> tuple[Floats, Floats]:
        """(m of all members, d + 1): with a last 1 to each row, log b_j k(x, z_j) + gamma ||x||^2 is one product. And
        the gammas (k,)."""
        parts = []
        for points, gamma, weights in self._members:
            last = np.log(weights) - narrower * gamma * (points * points).sum(axis=1)
            parts.append(np.column_stack([2.0 * narrower * gamma * points, last]))
        gammas = np.array([narrower * gamma for _, gamma, _ in self._members])
        return np.concatenate(parts).astype(np.float32), gammas


class SketchRatios:
    """r_i(x) = phi(x)'(S_u + lambda I)^-1 s_i, negatives cut at 0; S_u = mean phi phi' over the user's rows."""

    def __init__(self, sketches: Sequence[Sketch], island: Island) -> None:
        blocks = range(len(sketches[0].values) // BLOCK)
        waves = [frequencies(island.digest, island.dimension, island.gamma, block) for block in blocks]
        self._waves = np.concatenate(waves).T.astype(np.float32)
        means = np.array([each.floats() for each in sketches]).reshape(len(sketches), len(blocks), 2, -1)
        self._means = means.transpose(2, 1, 3, 0).reshape(-1, len(sketches)).astype(np.float64)
        self._norms = np.array([each.norm2 for each in sketches])
        self._solved: Doubles | None = None

    def fit(self, units: Floats) -> None:
        phi = self._features(np.asarray(units)[sampled(len(units), SAMPLE)])
        S = (phi.T @ phi / len(phi)).astype(np.float64) + RIDGE * np.eye(phi.shape[1])
        self._solved = np.asarray(solve(S, self._means, assume_a="pos", overwrite_a=True))

    def logs(self, units: Floats) -> Doubles:
        if self._solved is None:
            raise SpecificationError("the routing by sketches is not fitted", hint="fit it to rows of the user first")
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(np.maximum(self._by_chunks(units, self._solved), 0.0)))

    def likeness(self, units: Floats) -> Doubles:
        return np.asarray(self._by_chunks(units, self._means) / np.maximum(self._norms, LEAST))

    def _by_chunks(self, units: Floats, coefficients: Doubles) -> Doubles:
        found = np.empty((len(units), coefficients.shape[1]))
        single, step = coefficients.astype(np.float32), max(1, CELLS // len(coefficients))
        for start in range(0, len(units), step):
            found[start : start + step] = self._features(units[start : start + step]) @ single
        return found

    def _features(self, units: Floats) -> Floats:
        """Those of ``specs.sketch`` in float32, cosines of all blocks first: two to three times faster."""
        angles = np.asarray(units, np.float32) @ self._waves
        waves = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
        return np.asarray(waves / np.float32(np.sqrt(angles.shape[1])))


def sampled(count: int, most: int) -> slice:
    """At most ``most`` of ``count`` rows, evenly spaced."""
    return slice(None, None, max(1, -(-count // most)))
