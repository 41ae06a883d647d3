"""The rows that a specification is about, from a file to island units, block by block and as often as is asked.

Small tables, and what was encoded, are kept in memory after the first pass; larger tables are read anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from atoll.engine.errors import FeatureMismatch, NotFinite
from atoll.engine.islands import Island
from atoll.engine.specs.rows import Progress, Rows
from atoll.engine.tables import Table
from atoll.node.cli import encoded
from numpy.typing import NDArray

Floats = NDArray[np.float32]
KEPT_BYTES = 256 * 1024 * 1024
MINTED_ROWS = 200_000  # that robust statistics are taken of; they are rounded to two digits anyway


class Blocks:
    """Blocks float32 (n, d) of a file of rows in an island; iterated anew, it gives the same."""

    def __init__(self, path: Path, island: Island, tell: Progress) -> None:
        self._path = path
        self._island = island
        self._tell = tell
        self._kept: list[Floats] | None = None

    def __iter__(self) -> Iterator[Floats]:
        if self._kept is not None:
            yield from self._kept
            return
        limit = KEPT_BYTES if self._island.kind == "table" else math.inf
        kept: list[Floats] = []
        done = size = 0
        for block in self._read():
            done, size = done + len(block), size + block.nbytes
            self._tell("reading rows", done, 0)
            kept = [*kept, block] if size <= limit else []
            yield block
        if size <= limit:
            self._kept = kept

    def finite(self, *, impute: bool) -> Rows:
        """The rows as they are fitted: checked, or imputed by column means. NotFinite names the columns at fault."""
        rows = Rows(lambda: self, "mean" if impute else None)
        try:
            rows.survey(lambda dimension: 1, 0)
        except NotFinite as error:
            raise error if impute else self._not_finite() from None
        return rows

    def _read(self) -> Iterator[Floats]:
        if self._island.kind != "table":
            yield encoded.read(self._path, self._island.kind, self._tell)
            return
        for chunk in Table.chunks(self._path):
            try:
                yield self._island.transform(chunk)
            except FeatureMismatch as error:
                raise FeatureMismatch(
                    f"{self._path} does not fit island {self._island.id[:8]}: {error.message}", hint=error.hint
                ) from None

    def _not_finite(self) -> NotFinite:
        bad, cells = np.zeros(self._island.dimension, bool), 0
        for block in self:
            wrong = ~np.isfinite(block)
            bad |= wrong.any(axis=0)
            cells += int(wrong.sum())
        names = [self._island.names[place] for place in np.flatnonzero(bad)]
        shown = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
        return NotFinite(
            f"{self._path}: {cells} cells are empty, NaN or infinite, in columns {shown}",
            hint="clean them, or let column means take their place: --impute",
        )


def first_rows(path: Path) -> Table:
    """The first rows of a table file, enough to know its columns."""
    return next(Table.chunks(path, 1000))


def mint(path: Path) -> Island:
    """A new island from the rows of a table file, of a uniform sample if they are many."""
    random, share = np.random.default_rng(0), 1.0
    columns = first_rows(path).columns
    keys: NDArray[np.float64] = np.zeros(0)
    kept: list[NDArray[np.float64]] = []
    for chunk in Table.chunks(path):
        keys = np.concatenate([keys, random.random(len(chunk.values))])
        kept.append(chunk.values)
        if len(keys) <= MINTED_ROWS:
            continue
        while (keys < share).sum() > MINTED_ROWS:
            share /= 2
        kept, keys = [np.concatenate(kept)[keys < share]], keys[keys < share]
    return Island.mint(Table(np.concatenate(kept), columns))
