"""Tables of which one column is the target: names of classes, or numbers. What the others hold is numbers only.

Reads what `tables` reads, except .npy, which names no columns. Never guesses: a row without a target is an error.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from atoll.engine.errors import TableError
from atoll.engine.naming import instead
from atoll.engine.tables import CHUNK, READERS, Table, cells_of, check_separated
from numpy.typing import NDArray


class Targeted(NamedTuple):
    """``rows`` without the target, and its n cells as text."""

    rows: Table
    target: tuple[str, ...]


def read_labelled(path: Path, target: str) -> Targeted:
    """The whole of a file. TableError names the file and what is wrong: no such column, a row without a target."""
    parts = list(_parts(path, target))
    if not any(len(part.target) for part in parts):
        raise TableError(f"{path}: there are no rows")
    cells = tuple(chain.from_iterable(part.target for part in parts))
    if "" in cells:
        raise TableError(f"{path}: row {cells.index('') + 1} has no {target}", hint="leave out rows without a target")
    return Targeted(Table.together(part.rows for part in parts), cells)


def chunks_without(path: Path, column: str) -> Iterator[Table]:
    """As `Table.chunks`, without a column of whatever type; with all there are if it is not among them."""
    return (part.rows for part in _parts(path, column)) if column in columns_of(path) else Table.chunks(path)


def columns_of(path: Path) -> tuple[str, ...]:
    """The names of a file's columns; none of a .npy, and of a file that is no table."""
    suffix = path.suffix.lower()
    try:
        if suffix not in READERS:
            with path.open(newline="", encoding="utf-8-sig") as file:
                return tuple(name.strip() for name in next(csv.reader(file), []))
        return () if suffix == ".npy" else tuple(next(READERS[suffix](path, 1)).schema.names)
    except (TableError, UnicodeDecodeError, csv.Error):
        return ()


def _parts(path: Path, target: str) -> Iterator[Targeted]:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        raise TableError(f"{path}: a .npy names no columns", hint="give a CSV, .parquet, .arrow or .feather")
    named = columns_of(path) or next(Table.chunks(path, 1)).columns
    if target not in named:
        _check_commas(path, named)
        raise TableError(f"{path}: there is no column {target}", hint=instead(target, named, "its columns are"))
    if len(named) == 1:
        raise TableError(f"{path}: there is no column but {target}")
    try:
        yield from _arrow(path, target) if suffix in READERS else _csv(path, named.index(target))
    except TableError as error:
        raise TableError(f"{path}: {error.message}", hint=error.hint) from None


def _check_commas(path: Path, named: tuple[str, ...]) -> None:
    try:
        check_separated(named[0] if len(named) == 1 else "")
    except TableError as error:
        raise TableError(f"{path}: {error.message}", hint=error.hint) from None


def _csv(path: Path, place: int) -> Iterator[Targeted]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        header = tuple(name.strip() for name in next(reader))
        for lines in _some(reader):
            names = (*header[:place], *header[place + 1 :])
            values = _quickly(lines, header, place)
            if values is None:
                slowly = [_cell_by_cell(cells, header, place, number) for number, cells in lines]
                values = np.array(slowly, np.float64).reshape(len(lines), len(names))
            yield Targeted(Table(values, names), tuple(cells[place].strip() for _, cells in lines))


def _quickly(lines: list[tuple[int, list[str]]], header: tuple[str, ...], place: int) -> NDArray[np.float64] | None:
    """The numbers (n, d) as numpy reads them; None where it does not, or where a line has other cells."""
    if not lines or any(len(cells) != len(header) for _, cells in lines):
        return None
    try:
        values = np.loadtxt(
            [",".join(_others(cells, place)) for _, cells in lines], delimiter=",", comments=None, ndmin=2
        )
    except ValueError:
        return None
    return values if values.shape == (len(lines), len(header) - 1) else None


def _others(cells: list[str], place: int) -> list[str]:
    return cells[:place] + cells[place + 1 :]


def _cell_by_cell(cells: list[str], header: tuple[str, ...], place: int, number: int) -> list[float]:
    if len(cells) != len(header):
        raise TableError(f"line {number} has {len(cells)} cells where the header has {len(header)}")
    return cells_of(_others(cells, place), (*header[:place], *header[place + 1 :]), number)


def _some(reader: Any) -> Iterator[list[tuple[int, list[str]]]]:
    """Numbered lines, by chunks; at least one chunk, which may be empty."""
    lines = ((reader.line_num, cells) for cells in reader if cells)
    try:
        blocks = iter(lambda: list(islice(lines, CHUNK)), [])
        yield from chain([next(blocks, [])], blocks)
    except (UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"not a CSV file in UTF-8: {error}") from None


def _arrow(path: Path, target: str) -> Iterator[Targeted]:
    for batch in READERS[path.suffix.lower()](path, CHUNK):
        place = batch.schema.names.index(target)
        cells = batch.column(place).to_pylist()
        others = [each for number, each in enumerate(batch.schema.names) if number != place]
        yield Targeted(Table.of(batch.select(others)), tuple("" if cell is None else str(cell) for cell in cells))
