"""The user's rows as a session reads them: a `.npy` file, mapped and never unpickled, block by block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from atoll.engine.errors import NotFinite, TableError
from atoll.engine.islands import Island
from atoll.engine.naming import listed
from atoll.engine.tables import Table
from atoll.engine.units import in_units_of
from atoll.node.errors import RequestInvalid
from numpy.typing import NDArray

MAX_LABELLED = 10_000  # what methods are chosen by is few; more would only take longer
MAX_LABEL = 400  # characters
ALL = slice(None)


@dataclass(frozen=True)
class Rows:
    """``count`` rows of ``width`` numbers in a file, in raw units, under ``columns`` (empty: nameless). ``digest`` is
    what they were uploaded under."""

    path: Path
    columns: tuple[str, ...]
    count: int
    width: int
    digest: bytes = b""

    @classmethod
    def open(cls, path: Path, columns: tuple[str, ...], most: int, digest: bytes = b"") -> Rows:
        """A file of float32 or float64 (n, d), 1 <= n <= ``most``; TableError or RequestInvalid says what is wrong."""
        array = _mapped(path)
        if array.ndim != 2 or array.dtype not in (np.float32, np.float64):
            raise TableError(f"the rows are {array.dtype} of shape {array.shape}: expected float32 or float64 (n, d)")
        if not 1 <= len(array) <= most:
            raise RequestInvalid(f"{len(array)} rows: 1 to {most} are taken at once", hint="see reuse.max_rows")
        Table(np.zeros((0, array.shape[1])), columns)  # the names are checked there
        return cls(path, columns, len(array), array.shape[1], digest)

    def sample(self, most: int) -> NDArray[np.int64]:
        """The numbers of at most so many of them, evenly spread."""
        return np.unique(np.linspace(0, self.count - 1, min(most, self.count)).astype(np.int64))

    def at(self, places: NDArray[np.int64] | slice, columns: tuple[str, ...]) -> Table:
        """The rows of these numbers, and of them these columns only, all if nameless; the rest is not read."""
        array = _mapped(self.path)
        if columns in ((), self.columns):
            return Table(np.array(array[places], np.float64), self.columns)
        known = {name: place for place, name in enumerate(self.columns)}
        rows = np.arange(self.count)[places]
        chosen = np.array([known[name] for name in columns], np.int64)
        return Table(np.array(array[np.ix_(rows, chosen)], np.float64), columns)


@dataclass(frozen=True)
class Labelled:
    """Rows whose ``labels`` are known: names of classes, or target values. ``digest`` is what they were uploaded under,
    if they were."""

    rows: Rows | Table
    labels: tuple[str | float, ...]
    digest: bytes = b""

    def __post_init__(self) -> None:
        count = self.rows.count if isinstance(self.rows, Rows) else len(self.rows.values)
        if count != len(self.labels):
            raise RequestInvalid(f"{len(self.labels)} labels for {count} labelled rows")
        if any(isinstance(label, str) and len(label) > MAX_LABEL for label in self.labels):
            raise RequestInvalid(f"a label is longer than {MAX_LABEL} characters", hint="labels name classes")
        if not 2 <= len(self.labels) <= MAX_LABELLED:
            raise RequestInvalid(f"{len(self.labels)} labelled rows: 2 to {MAX_LABELLED} are of use")


def in_island(
    rows: Rows | Table, island: Island, units: Mapping[str, str], places: NDArray[np.int64] | slice = ALL
) -> NDArray[np.float64]:
    """Raw rows (n, d) in the island's units and order of columns, all or those of ``places``; FeatureMismatch where
    columns are missing, NotFinite where a value is missing or too large for a model, naming the columns."""
    width = rows.width if isinstance(rows, Rows) else rows.values.shape[1]
    in_units_of(island, Table(np.empty((0, width)), rows.columns), units).select(island.names)  # they are all there
    names = island.names if rows.columns else ()
    chosen = rows.at(places, names) if isinstance(rows, Rows) else Table(rows.select(island.names)[places], names)
    told = {name: unit for name, unit in units.items() if name in names}
    raw = in_units_of(island, chosen, told).select(island.names)
    sound = np.abs(raw) <= np.finfo(np.float32).max
    if not sound.all():
        shown = listed(island.names[place] for place in np.flatnonzero(~sound.all(axis=0)))
        raise NotFinite(
            f"the rows hold NaN, infinite or too large values, in columns {shown}", hint="fill or drop them first"
        )
    return raw


def _mapped(path: Path) -> NDArray[np.floating]:
    """The array of a file, which is as long as its header says; numpy reads that as Python."""
    try:
        with np.errstate(over="raise"):  # a shape beyond what can be counted
            return np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # in as many ways as a text can be no Python
        raise TableError(f"the rows are not a plain numeric .npy array: {error}") from None
