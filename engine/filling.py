"""Cells that hold no number: column means in their place, or an error that names the columns."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from atoll.engine.errors import NotFinite
from atoll.engine.naming import listed
from atoll.engine.tables import Table
from numpy.typing import NDArray


def means_of(chunks: Iterable[Table]) -> NDArray[np.float64]:
    """Of the finite cells of each column, (d,); NotFinite where a column has none."""
    sums: NDArray[np.float64] | float = 0.0
    counts: NDArray[np.int64] | int = 0
    columns: tuple[str, ...] = ()
    for chunk in chunks:
        good, columns = np.isfinite(chunk.values), chunk.columns
        sums, counts = sums + np.where(good, chunk.values, 0.0).sum(axis=0), counts + good.sum(axis=0)
    empty = np.atleast_1d(np.equal(counts, 0))
    if empty.any():
        raise NotFinite(f"no row has a finite value in columns {_named(columns, empty)}", hint="leave such columns out")
    return np.asarray(sums / counts)


def filled(rows: Table, means: NDArray[np.float64] | None) -> Table:
    """The rows with ``means`` (d,) where cells are not finite; without means such cells are NotFinite."""
    missing = ~np.isfinite(rows.values)
    if not missing.any():
        return rows
    if means is None:
        raise NotFinite(
            f"{int(missing.sum())} cells are empty, NaN or infinite, in columns "
            f"{_named(rows.columns, np.atleast_1d(missing.any(axis=0)))}",
            hint="clean them, or let column means take their place",
        )
    return Table(np.where(missing, means, rows.values), rows.columns)


def _named(columns: tuple[str, ...], chosen: NDArray[np.bool_]) -> str:
    """Those without names by their number, from 1."""
    names = [columns[place] if columns else str(place + 1) for place in np.flatnonzero(chosen)]
    return listed(names)
