"""Rows with named columns, the one form in which tables enter Atoll.

Accepts numpy arrays, dictionaries of columns, pandas and pyarrow tables, CSV and .npy files. Holds float64.
Never guesses: a cell that is no number is an error that names line and column.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from atoll.engine.errors import FeatureMismatch, TableError
from numpy.typing import NDArray


@dataclass(frozen=True)
class Table:
    """``values`` is float64 (n, d); ``columns`` names the d columns, or is empty for a nameless array."""

    values: NDArray[np.float64]
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] == 0:
            raise TableError(f"expected rows and columns, got an array of shape {self.values.shape}")
        if self.columns and len(self.columns) != self.values.shape[1]:
            raise TableError(f"{len(self.columns)} column names for {self.values.shape[1]} columns")
        if len(set(self.columns)) != len(self.columns):
            twice = sorted({name for name in self.columns if self.columns.count(name) > 1})
            raise TableError(f"columns named twice: {', '.join(twice)}")

    @classmethod
    def of(cls, rows: Any) -> Table:
        """Rows from a Table, array (n, d), dict of columns, pandas or pyarrow table; TableError otherwise."""
        if isinstance(rows, cls):
            return rows
        names: tuple[str, ...] = ()
        try:
            if isinstance(rows, dict):
                names, rows = tuple(map(str, rows)), np.column_stack([np.asarray(column) for column in rows.values()])
            elif hasattr(rows, "column_names"):  # pyarrow
                names = tuple(rows.column_names)
                rows = np.column_stack([rows.column(name).to_numpy() for name in names])
            elif hasattr(rows, "columns"):  # pandas
                names, rows = tuple(map(str, rows.columns)), rows.to_numpy()
            values = np.asarray(rows, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise TableError(f"the rows are not numbers: {error}") from None
        return cls(values, names)

    @classmethod
    def read(cls, path: Path) -> Table:
        """Read a CSV file with a header line, or a .npy array (never a pickled one)."""
        if path.suffix == ".npy":
            try:
                return cls.of(np.load(path, allow_pickle=False))
            except (ValueError, EOFError) as error:
                raise TableError(f"{path} is not a plain numeric array: {error}") from None
        try:
            return cls._read_csv(path)
        except (UnicodeDecodeError, csv.Error) as error:
            raise TableError(f"{path} is not a CSV file in UTF-8: {error}") from None

    @classmethod
    def _read_csv(cls, path: Path) -> Table:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            header = tuple(name.strip() for name in next(lines, []))
            if not header:
                raise TableError(f"{path} is empty", hint="the first line names the columns")
            rows = [_numbers(line, header, path, number) for number, line in enumerate(lines, start=2) if line]
        return cls(np.array(rows, dtype=np.float64).reshape(len(rows), len(header)), header)

    def select(self, names: tuple[str, ...]) -> NDArray[np.float64]:
        """The columns ``names`` in that order, (n, len(names)); FeatureMismatch names what is missing.

        A nameless table is taken as it stands if its width fits.
        """
        if not self.columns:
            if self.values.shape[1] != len(names):
                raise FeatureMismatch(f"{self.values.shape[1]} nameless columns where {len(names)} are expected")
            return self.values
        missing = sorted(set(names) - set(self.columns))
        if missing:
            shown = ", ".join(missing[:8]) + (" ..." if len(missing) > 8 else "")
            raise FeatureMismatch(f"{len(missing)} columns are missing: {shown}")
        places = {name: place for place, name in enumerate(self.columns)}
        return self.values[:, [places[name] for name in names]]


def _numbers(line: list[str], header: tuple[str, ...], path: Path, number: int) -> list[float]:
    if len(line) != len(header):
        raise TableError(f"{path}:{number} has {len(line)} cells where the header has {len(header)}")
    values = []
    for name, cell in zip(header, line, strict=True):
        try:
            values.append(float(cell) if cell.strip() else float("nan"))
        except ValueError:
            raise TableError(f"{path}:{number}, column {name}: {cell[:40]!r} is not a number") from None
    return values
