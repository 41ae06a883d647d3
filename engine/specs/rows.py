"""Rows to fit: an array, or a callable giving chunks, read as float32 blocks in as many passes as it takes.

Promises: blocks do not depend on how the caller cut the chunks, so both ways give the same bytes; memory stays
bounded by one chunk; values that are NaN or infinite are refused, or imputed by column means on request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from atoll.engine.errors import NotFinite, SpecificationError
from numpy.typing import NDArray

BLOCK_ROWS = 8192
Floats = NDArray[np.float32]
Progress = Callable[[str, int, int], None]  # stage, done, total (0: not known)


@dataclass(frozen=True)
class Survey:
    """What the first pass found: how many rows of what width, and a uniform sample of them in random order."""

    count: int
    dimension: int
    sample: Floats


class Rows:
    """A matrix (n, d), or a callable that returns a fresh iterable of such chunks at each call."""

    def __init__(self, source: Any, impute: str | None = None) -> None:
        if impute not in (None, "mean"):
            raise SpecificationError(f"impute is {impute!r}", hint='"mean" or None')
        self._source = source
        self._impute = impute
        self._means: Floats | None = None
        self._dimension = 0

    def survey(self, size_of_sample: Callable[[int], int], seed: int) -> Survey:
        """One pass: count, check, and sample ``size_of_sample(d)`` rows uniformly (all, if there are fewer)."""
        random = np.random.default_rng(seed)
        kept: list[tuple[NDArray[np.float64], Floats]] = []
        sums, finite, count, wanted = np.zeros(0), np.zeros(0), 0, 0
        for block in self._blocks():
            if not count:
                self._dimension, wanted = block.shape[1], size_of_sample(block.shape[1])
                sums, finite = np.zeros(block.shape[1]), np.zeros(block.shape[1])
            good = np.isfinite(block)
            if not good.all() or self._impute:
                sums += np.where(good, block, 0.0).sum(axis=0, dtype=np.float64)
            finite += len(block) if good.all() else good.sum(axis=0)
            count += len(block)
            kept = _smallest([*kept, (random.random(len(block)), block)], wanted)
        if not count:
            raise SpecificationError("there are no rows")
        self._settle(sums, finite, count)
        order = np.argsort(np.concatenate([keys for keys, _ in kept]), kind="stable")
        sample = np.concatenate([rows for _, rows in kept])[order]
        return Survey(count, self._dimension, self._filled(sample))

    def __iter__(self) -> Iterator[Floats]:
        """Blocks float32 (at most 8192, d), every value finite. Only after :meth:`survey`."""
        return map(self._filled, self._blocks())

    def _settle(self, sums: NDArray[np.float64], finite: NDArray[np.float64], count: int) -> None:
        bad = np.flatnonzero(finite < count)
        if bad.size and self._impute is None:
            cells = int((count - finite).sum())
            raise NotFinite(
                f"{cells} cells are NaN or infinite, in columns {bad[:8].tolist()}",
                hint='clean them, or pass impute="mean"',
            )
        if (finite == 0).any():
            raise NotFinite(f"columns {np.flatnonzero(finite == 0)[:8].tolist()} hold no finite value")
        if bad.size:
            self._means = (sums / finite).astype(np.float32)

    def _filled(self, block: Floats) -> Floats:
        return block if self._means is None else np.where(np.isfinite(block), block, self._means)

    def _blocks(self) -> Iterator[Floats]:
        pending: list[Floats] = []
        waiting = 0
        for chunk in self._chunks():
            matrix = _matrix(chunk, self._dimension)
            if not waiting and len(matrix) == BLOCK_ROWS:
                yield matrix
                continue
            pending.append(matrix)
            waiting += len(matrix)
            if waiting >= BLOCK_ROWS:
                joined = np.concatenate(pending)
                whole = waiting - waiting % BLOCK_ROWS
                yield from (joined[start : start + BLOCK_ROWS] for start in range(0, whole, BLOCK_ROWS))
                pending, waiting = [joined[whole:]], waiting - whole
        if waiting:
            yield np.concatenate(pending)

    def _chunks(self) -> Iterable[Any]:
        if callable(self._source):
            chunks: Iterable[Any] = self._source()
            return chunks
        array = np.asarray(self._source)
        if array.ndim != 2:
            raise SpecificationError(f"rows must be a matrix (n, d), got shape {array.shape}")
        return (array[start : start + BLOCK_ROWS] for start in range(0, len(array), BLOCK_ROWS))


def _matrix(chunk: Any, dimension: int) -> Floats:
    try:
        with np.errstate(over="ignore"):  # what overflows becomes infinite, and is refused as that
            matrix = np.ascontiguousarray(chunk, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise SpecificationError(f"the rows are not numbers: {error}") from None
    if matrix.ndim != 2 or matrix.shape[1] == 0 or dimension not in (0, matrix.shape[1]):
        wanted = f"(n, {dimension})" if dimension else "(n, d)"
        raise SpecificationError(f"rows must be a matrix {wanted}, got shape {np.shape(chunk)}")
    return matrix


def _smallest(parts: list[tuple[NDArray[np.float64], Floats]], wanted: int) -> list[tuple[NDArray[np.float64], Floats]]:
    """The rows with the ``wanted`` smallest keys: a uniform sample, whatever the length of the stream."""
    if sum(len(keys) for keys, _ in parts) <= wanted:
        return parts
    keys = np.concatenate([keys for keys, _ in parts])
    limit = np.partition(keys, wanted - 1)[wanted - 1]
    kept = [(keys[keys <= limit], rows[keys <= limit]) for keys, rows in parts]
    return [(keys, rows) for keys, rows in kept if len(keys)]
