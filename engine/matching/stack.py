"""The points of many RKMEs, one below the other, and inner products of a query with them.

A scan in float32 comes with a bound of its error, so that a caller can tell which members need the exact value;
the exact value is computed member by member in float64 and so depends on nothing but the member and the query.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from atoll.engine.matching.growing import Growing
from atoll.engine.specs.rkme import Rkme
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ENTRIES = 2**16  # kernel values in work at a time: 256 kB of float32 stay in the cache
ROUNDOFF = 2.0**-24


class Basis:
    """A query's side of the product: columns [2 gamma x; 1; -gamma |x|^2], so that [z, -gamma |z|^2, 1] times it
    is the exponent -gamma |z - x|^2."""

    def __init__(self, points: NDArray[np.float32], weights: NDArray[np.float32], gamma: float) -> None:
        wide = points.astype(np.float64)
        squares = gamma * np.einsum("ij,ij->i", wide, wide)
        self.columns = np.vstack([2.0 * gamma * wide.T, np.ones(len(wide)), -squares])
        self.weights = weights.astype(np.float64)
        self.largest = float(squares.max())


class PointStack:
    """Members by slot: 0, 1, ... in the order of ``append``; ``gamma`` and ``dimension`` are common to all."""

    def __init__(self, dimension: int, gamma: float) -> None:
        self.dimension = dimension
        self.gamma = gamma
        self._rows = Growing(np.float32, dimension + 2)  # [z, -gamma |z|^2, 1]
        self._weights = Growing(np.float32)
        self._starts = Growing(np.int64)
        self._sizes = Growing(np.int64)
        self._largest = Growing(np.float64)  # gamma |z|^2 of the outermost point
        self._norms = Growing(np.float64)

    @property
    def norms(self) -> Floats:
        """<P, P> of every slot."""
        return self._norms.values

    @property
    def sizes(self) -> NDArray[np.int64]:
        return self._sizes.values

    def append(self, member: Rkme) -> None:
        """Put a member into the next slot."""
        squares = self.gamma * np.einsum("ij,ij->i", member.points, member.points, dtype=np.float64)
        rows = np.ones((len(squares), self.dimension + 2), np.float32)
        rows[:, :-2] = member.points
        with np.errstate(over="ignore"):  # the bound below is infinite then, and the exact value is asked for
            rows[:, -2] = -squares
        self._starts.extend([len(self._rows)])
        self._sizes.extend([len(rows)])
        self._largest.extend([squares.max()])
        self._norms.extend([member.norm2])
        self._rows.extend(rows)
        self._weights.extend(member.weights)

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Drop the slots where ``mask`` (slots,) is false; the others move up."""
        rows = np.repeat(mask, self.sizes)
        self._rows.keep(rows)
        self._weights.keep(rows)
        for column in (self._starts, self._sizes, self._largest, self._norms):
            column.keep(mask)
        self._starts.values[:] = np.cumsum(self.sizes) - self.sizes

    def basis(self, slot: int) -> Basis:
        """A member as the query."""
        part = self._part(slot)
        return Basis(self._rows.values[part, :-2], self._weights.values[part], self.gamma)

    def scan(self, basis: Basis, slots: NDArray[np.int64] | None = None) -> tuple[Floats, Floats]:
        """<query, member> for all or the given slots, from float32 kernels, and a bound of each one's error."""
        if slots is None:
            rows, weights, starts = self._rows.values, self._weights.values, self._starts.values
            sizes, largest = self.sizes, self._largest.values
        else:
            sizes, largest = self.sizes[slots], self._largest.values[slots]
            starts = np.cumsum(sizes) - sizes
            places = np.repeat(self._starts.values[slots] - starts, sizes) + np.arange(sizes.sum())
            rows, weights = self._rows.values[places], self._weights.values[places]
        if not len(sizes):
            return np.zeros(0), np.zeros(0)
        with np.errstate(over="ignore", invalid="ignore"):
            sums = np.add.reduceat(_kernel_sums(rows, basis) * weights.astype(np.float64), starts)
        error = self._error_bound(basis, largest)
        wild = ~np.isfinite(error) | ~np.isfinite(sums)
        return np.where(wild, 0.0, sums), np.where(wild, np.inf, error)

    def exact(self, basis: Basis, slots: Iterable[int]) -> Floats:
        """<query, member> for the given slots, in float64."""
        return np.array([self._inner(basis, slot) for slot in slots], np.float64)

    def _inner(self, basis: Basis, slot: int) -> float:
        part = self._part(slot)
        rows = self._rows.values[part].astype(np.float64)
        rows[:, -2] = -self.gamma * np.einsum("ij,ij->i", rows[:, :-2], rows[:, :-2])
        kernel = rows @ basis.columns
        np.minimum(kernel, 0.0, out=kernel)
        np.exp(kernel, out=kernel)
        return float(self._weights.values[part].astype(np.float64) @ (kernel @ basis.weights))

    def _part(self, slot: int) -> slice:
        start = int(self._starts.values[slot])
        return slice(start, start + int(self.sizes[slot]))

    def _error_bound(self, basis: Basis, largest: Floats) -> Floats:
        """First-order rounding analysis (Higham 2002, section 3.1): a dot product of n terms errs by at most
        n u sum |terms|, here with |terms| <= 2 gamma (|z|^2 + |x|^2); then exp, then the sum over the query."""
        exponent = (self.dimension + 5) * ROUNDOFF * 2.0 * (largest + basis.largest)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(exponent * np.exp(exponent) + (len(basis.weights) + 6) * ROUNDOFF)


def _kernel_sums(rows: NDArray[np.float32], basis: Basis) -> NDArray[np.float32]:
    """sum_j w_j k(row, x_j) for every row, in float32, a few rows at a time."""
    columns, weights = basis.columns.astype(np.float32), basis.weights.astype(np.float32)
    step = max(32, ENTRIES // len(weights))
    kernel = np.empty((step, len(weights)), np.float32)
    sums = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        block = kernel[: len(part)]
        np.dot(part, columns, out=block)
        np.exp(block, out=block)
        np.dot(block, weights, out=sums[start : start + step])
    return sums
