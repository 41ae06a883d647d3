"""int8 sketches in one array, and their distances to a query, as whole numbers: exact, so that order and ties do not
depend on where a sketch is stored."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy as np
from atoll.engine.errors import DimensionMismatch, NotFinite
from atoll.engine.matching.growing import Growing
from atoll.engine.specs.sketch import BLOCK, Sketch
from numpy.typing import NDArray

ENTRIES = 2**16  # numbers in work at a time: 256 kB of float32 stay in the cache
EXACT = 2 * BLOCK  # sums of that many products of int8 are exact in float32: 1024 * 128^2 = 2^24


class SketchTable:
    """Sketches of ``width`` numbers by slot; the array takes ``width`` + 32 bytes a sketch."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._values = Growing(np.int8, width)
        self._squares = Growing(np.float64)  # sums of squares of the whole numbers
        self._scales = Growing(np.float64)
        self._sigmas = Growing(np.float64)
        self._norms = Growing(np.float64)
        self._biases = Growing(np.float64)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def values(self) -> NDArray[np.int8]:
        return self._values.values

    def put(self, slots: NDArray[np.int64], sketches: Sequence[Sketch]) -> None:
        """Fill slots: free ones, or those that follow the last."""
        added = max(int(slots.max()) + 1 - len(self), 0)
        values = np.array([each.values for each in sketches])
        wide = values.astype(np.float32)
        columns = (
            (self._values, values),
            (self._squares, np.einsum("ij,ij->i", wide, wide, dtype=np.float64)),
            (self._scales, np.array([each.scale for each in sketches])),
            (self._sigmas, np.array([each.sigma for each in sketches])),
            (self._norms, np.array([each.norm2 for each in sketches])),
            (self._biases, np.array([each.bias for each in sketches])),
        )
        for column, entries in columns:
            column.extend(np.zeros((added, *entries.shape[1:]), entries.dtype))
            column.values[slots] = entries

    def sketch(self, slot: int) -> Sketch:
        columns = (self._norms, self._scales, self._sigmas)
        return Sketch(self.values[slot].copy(), *(float(column.values[slot]) for column in columns))

    def scales_and_biases(self, slots: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scales and biases (n,) of the sketches in ``slots``."""
        return self._scales.values[slots], self._biases.values[slots]

    def distances(self, query: Sketch, slots: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Estimated MMD^2 to all slots, free ones included, or to the given ones; the noise's bias is taken off."""
        part = slice(None) if slots is None else slots
        own = query.values.astype(np.float32)
        scales = self._scales.values[part]
        found = scales * (scales * self._squares.values[part] - 2.0 * query.scale * dots(self.values[part], own))
        found += query.scale**2 * float(dots(query.values[None], own)[0])
        return np.asarray(np.maximum(found * (BLOCK / self.width) - self._biases.values[part] - query.bias, 0.0))


def dots(rows: NDArray[np.int8], query: NDArray[np.float32]) -> NDArray[np.float64]:
    """Inner products of ``rows`` (n, width) and ``query`` (width,); exact if ``query`` holds whole int8 numbers."""
    found = np.zeros(len(rows))
    step = max(1, ENTRIES // len(query))
    work = np.empty((step, len(query)), np.float32)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        block = work[: len(part)]
        np.copyto(block, part)
        for column in range(0, len(query), EXACT):
            found[start : start + step] += block[:, column : column + EXACT] @ query[column : column + EXACT]
    return found


def check_length(sketch: Sketch, width: int | None = None) -> None:
    """DimensionMismatch unless the sketch consists of whole blocks of int8, ``width`` numbers if given."""
    values = sketch.values
    if values.dtype != np.int8 or values.ndim != 1 or not len(values) or len(values) % BLOCK:
        raise DimensionMismatch(f"a sketch of {values.dtype} {values.shape}: expected int8, {BLOCK} numbers a block")
    if width not in (None, len(values)):
        raise DimensionMismatch(f"sketches of {len(values)} and {width} numbers are not comparable")
    if not (isfinite(sketch.scale) and sketch.scale > 0 and isfinite(sketch.norm2) and isfinite(sketch.bias)):
        raise NotFinite(f"a sketch with scale {sketch.scale}, norm {sketch.norm2} and noise {sketch.sigma}")
