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
from atoll.engine.specs.sketch import BLOCK, Sketch, features

NARROWER = 4.0  # gamma_route = 4 / d, where gamma is 1 / d: rows want a narrower kernel than distributions
RIDGE = 1e-2
CELLS = 2**21  # kernel values held at once
SAMPLE = 4096  # rows that say what the user's rows are like; more change nothing measurable
LEAST = 1e-30


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
        self._points = np.concatenate([member.points for member in members]).astype(np.float32)
        counts = [len(member.points) for member in members]
        self._starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
        self._counts = np.array(counts)
        self._gammas = np.repeat(np.array([member.gamma for member in members], np.float32), counts)
        self._logs = np.log(np.maximum(np.concatenate([member.weights for member in members]), LEAST))
        self._norms = np.array([member.norm2 for member in members])

    def fit(self, units: Floats) -> None:
        return None

    def logs(self, units: Floats) -> Doubles:
        return self._mixed(units, NARROWER)

    def likeness(self, units: Floats) -> Doubles:
        return np.asarray(np.exp(self._mixed(units, 1.0)) / self._norms)

    def _mixed(self, units: Floats, narrower: float) -> Doubles:
        """log sum_j b_j k(x, z_j), by log-sum-exp: far rows must not underflow to a tie."""
        found = np.empty((len(units), len(self._counts)))
        step = max(1, CELLS // len(self._points))
        for start in range(0, len(units), step):
            rows = np.asarray(units[start : start + step], np.float32)
            logs = self._logs - (narrower * self._gammas) * _squares(rows, self._points)
            tops = np.maximum.reduceat(logs, self._starts, axis=1)
            logs -= np.repeat(tops, self._counts, axis=1)
            sums = np.add.reduceat(np.exp(logs, out=logs), self._starts, axis=1)
            found[start : start + step] = np.log(sums) + tops
        return found


class SketchRatios:
    """r_i(x) = phi(x)'(S_u + lambda I)^-1 s_i, negatives cut at 0; S_u = mean phi phi' over the user's rows."""

    def __init__(self, sketches: Sequence[Sketch], island: Island) -> None:
        self._island = island
        self._blocks = len(sketches[0].values) // BLOCK
        self._means = np.array([each.floats() for each in sketches], np.float64).T
        self._norms = np.array([each.norm2 for each in sketches])
        self._solved: Doubles | None = None

    def fit(self, units: Floats) -> None:
        phi = self._features(np.asarray(units)[sampled(len(units))])
        S = phi.T @ phi / len(phi) + RIDGE * np.eye(phi.shape[1])
        self._solved = np.asarray(np.linalg.solve(S, self._means), np.float64)

    def logs(self, units: Floats) -> Doubles:
        if self._solved is None:
            raise SpecificationError("the routing by sketches is not fitted", hint="fit it to rows of the user first")
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(np.maximum(self._by_chunks(units, self._solved), 0.0)))

    def likeness(self, units: Floats) -> Doubles:
        return np.asarray(self._by_chunks(units, self._means) / np.maximum(self._norms, LEAST))

    def _by_chunks(self, units: Floats, coefficients: Doubles) -> Doubles:
        step = max(1, CELLS // (self._blocks * BLOCK))
        parts = [self._features(units[start : start + step]) @ coefficients for start in range(0, len(units), step)]
        return np.concatenate(parts) if parts else np.zeros((0, coefficients.shape[1]))

    def _features(self, units: Floats) -> Doubles:
        return np.asarray(features(units, self._island, self._blocks) / np.sqrt(self._blocks))


def sampled(count: int) -> slice:
    """At most SAMPLE of ``count`` rows, evenly spaced."""
    return slice(None, None, max(1, -(-count // SAMPLE)))


def _squares(left: Floats, right: Floats) -> Floats:
    """||x_i - y_j||^2, float32 (n, m): units are clipped, and its rounding is far below a kernel width."""
    squares = (left * left).sum(axis=1)[:, None] + (right * right).sum(axis=1) - 2.0 * (left @ right.T)
    return np.asarray(np.maximum(squares, 0.0, out=squares))
