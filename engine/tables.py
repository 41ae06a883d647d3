"""Rows with named columns, the one form in which tables enter Atoll.

Takes numpy arrays, dictionaries of columns, pandas and Arrow tables, and CSV, .npy, Parquet and Arrow (Feather) files.
Holds float64: booleans are 0 and 1, what is missing is NaN. Never guesses: a column or cell that is no number is an
error that says where. Never unpickles. pyarrow, the extra `tables`, is loaded only where it is needed.
"""

from __future__ import annotations

import csv
import importlib.util
import numbers
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from atoll.engine.errors import FeatureMismatch, TableError
from atoll.engine.naming import SHOWN, listed, meant
from numpy.typing import NDArray

CHUNK = 65_536  # rows
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}  # that are not commas


@dataclass(frozen=True)
class Table:
    """``values`` is float64 (n, d); ``columns`` names the d columns, or is empty for a nameless array."""

    values: NDArray[np.float64]
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] == 0:
            raise TableError(f"expected rows and columns, got an array of shape {self.values.shape}")
        if self.columns:
            _check_names(self.columns, self.values.shape[1])

    @classmethod
    def of(cls, rows: Any) -> Table:
        """Rows from a Table, array (n, d), dict of columns, pandas frame or anything that speaks Arrow.

        The index of a pandas frame is no column. Raises TableError, naming column and type, where there are no numbers.
        """
        if isinstance(rows, cls):
            return rows
        if isinstance(rows, dict):
            return cls._of_columns(rows.items())
        if hasattr(rows, "columns") and hasattr(rows, "iloc"):  # pandas
            return cls._of_columns(rows.items())
        if hasattr(rows, "__arrow_c_stream__") or hasattr(rows, "__arrow_c_array__"):
            return cls._of_arrow(rows)
        if getattr(getattr(rows, "dtype", None), "names", None):  # structured array
            return cls._of_columns((name, rows[name]) for name in rows.dtype.names)
        return cls(_numbers(rows, "the rows are"))

    @classmethod
    def _of_columns(cls, columns: Iterable[tuple[Any, Any]]) -> Table:
        named = [(_clean(name), values) for name, values in columns]
        arrays = [_column(name, values) for name, values in named]
        lengths = {name: len(array) for (name, _), array in zip(named, arrays, strict=True)}
        if len(set(lengths.values())) > 1:
            raise TableError(f"columns of unequal length: {listed(f'{n} ({size})' for n, size in lengths.items())}")
        values = np.column_stack(arrays) if arrays else np.empty((0, 0))
        return cls(values, tuple(name for name, _ in named))

    @classmethod
    def _of_arrow(cls, rows: Any) -> Table:
        table = _pyarrow("an Arrow table").table(rows)
        index = _index_columns(table.schema)
        return cls._of_columns(
            (name, table.column(i)) for i, name in enumerate(table.schema.names) if name not in index
        )

    @classmethod
    def read(cls, path: Path) -> Table:
        """The whole of a file, as ``chunks`` reads it."""
        return cls.together(cls.chunks(path))

    @classmethod
    def together(cls, tables: Iterable[Table]) -> Table:
        """The rows of all, one at least, which have the same columns."""
        parts = list(tables)
        return cls(np.concatenate([part.values for part in parts]), parts[0].columns)

    @classmethod
    def chunks(cls, path: Path, rows: int = CHUNK) -> Iterator[Table]:
        """A file as Tables of at most ``rows`` rows, in order, in bounded memory; at least one, which may be empty.

        By its suffix a file is .npy (mapped, never unpickled), .parquet, .arrow or .feather (these three need the
        extra `tables`), else CSV: UTF-8, commas, the first line names the columns, an empty cell is NaN.
        Raises TableError, naming the file and where in it, when iterated.
        """
        if rows < 1:
            raise TableError(f"chunks of {rows} rows")
        read = READERS.get(path.suffix.lower(), _csv)
        try:
            for chunk in read(path, rows):
                yield cls.of(chunk)
        except TableError as error:
            raise TableError(f"{path}: {error.message}", hint=error.hint) from None

    def mismatch(self, names: tuple[str, ...]) -> str:
        """How the columns differ from ``names``, in any order, in words; empty if they do not.

        A nameless table has no difference but of width.
        """
        if not self.columns:
            width = self.values.shape[1]
            return "" if width == len(names) else f"{width} nameless columns where {len(names)} are expected"
        missing, unexpected = sorted(set(names) - set(self.columns)), sorted(set(self.columns) - set(names))
        parts = [f"{len(missing)} columns are missing: {listed(missing)}"] if missing else []
        parts += [f"{len(unexpected)} columns are unexpected: {listed(unexpected)}"] if unexpected else []
        alike = [f"{near} for {each}" for each in unexpected[:SHOWN] if (near := meant(each, missing))]
        parts += [f"did you mean {listed(alike)}?"] if alike else []
        return "; ".join(parts)

    def select(self, names: tuple[str, ...]) -> NDArray[np.float64]:
        """The columns ``names`` in that order, (n, len(names)); others are left out.

        Raises FeatureMismatch if any is missing, naming the missing and the unexpected. A nameless table is taken as
        it stands if its width fits.
        """
        if set(names) - set(self.columns) and (mismatch := self.mismatch(names)):
            raise FeatureMismatch(mismatch)
        if not self.columns:
            return self.values
        places = {name: place for place, name in enumerate(self.columns)}
        return self.values[:, [places[name] for name in names]]


def _check_names(names: tuple[str, ...], width: int) -> None:
    if len(names) != width:
        raise TableError(f"{len(names)} column names for {width} columns")
    nameless = [place for place, name in enumerate(names, start=1) if not name.strip()]
    if nameless:
        raise TableError(
            f"column {nameless[0]} of {width} has no name",
            hint="a pandas index written to CSV does this: to_csv(..., index=False)",
        )
    if len(set(names)) != len(names):
        raise TableError(f"columns named twice: {listed(sorted({n for n in names if names.count(n) > 1}))}")


def _clean(name: Any) -> str:
    return str(name).strip()


def _column(name: str, values: Any) -> NDArray[np.float64]:
    """One column, float64 (n,)."""
    if type(values).__module__.split(".")[0] == "pyarrow":
        column = _arrow_column(name, values)
    elif hasattr(values, "iloc") and not isinstance(values.dtype, np.dtype):
        column = _extension_column(name, values)
    else:
        column = _numbers(values, f"column {name} is")
    if column.ndim != 1:
        raise TableError(f"column {name} is of shape {column.shape}, not a list of numbers")
    return column


def _extension_column(name: str, column: Any) -> NDArray[np.float64]:
    """A column of one of pandas' own types, which have a missing value of their own."""
    if column.dtype.kind not in "biuf":
        raise TableError(f"column {name} is of type {column.dtype}, not numbers")
    return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))


def _numbers(values: Any, subject: str) -> NDArray[np.float64]:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise TableError(f"{subject} not numbers: {error}") from None
    if array.dtype.kind in "biuf":
        floats = array.astype(np.float64, copy=False)
        mask = np.ma.getmask(values)
        return floats if mask is np.ma.nomask else np.where(mask, np.nan, floats)
    if array.dtype.kind != "O":
        raise TableError(f"{subject} of type {array.dtype}, not numbers")
    try:
        return np.array([_number(value) for value in array.flat], dtype=np.float64).reshape(array.shape)
    except (TypeError, OverflowError) as error:
        raise TableError(f"{subject} not numbers: {error}") from None


def _number(value: Any) -> float:
    if value is None or type(value).__name__ == "NAType":  # pandas.NA
        return float("nan")
    if isinstance(value, numbers.Real | Decimal | np.bool_):
        return float(value)
    raise TypeError(f"it holds {str(value)[:40]!r}, of type {type(value).__name__}")


def _pyarrow(what: str) -> Any:
    if importlib.util.find_spec("pyarrow") is None:
        raise TableError(f"{what} is read by pyarrow, which is not installed: pip install 'atoll[tables]'")
    import pyarrow

    return pyarrow


def _arrow_column(name: str, column: Any) -> NDArray[np.float64]:
    import pyarrow

    kind, is_kind = column.type, pyarrow.types
    checks = (is_kind.is_integer, is_kind.is_floating, is_kind.is_boolean, is_kind.is_decimal, is_kind.is_null)
    if not any(check(kind) for check in checks):
        raise TableError(f"column {name} is of type {kind}, not numbers")
    doubles = column.cast(pyarrow.float64(), safe=False)  # unsafe: integers beyond 2^53 are rounded, as in numpy
    options = {} if isinstance(doubles, pyarrow.ChunkedArray) else {"zero_copy_only": False}
    return np.asarray(doubles.to_numpy(**options), dtype=np.float64)


def _index_columns(schema: Any) -> set[str]:
    """Columns that are the index of the pandas frame that was written; to pandas they are no columns."""
    try:
        index = (schema.pandas_metadata or {}).get("index_columns", [])
        return {name for name in index if isinstance(name, str)}
    except (ValueError, AttributeError, TypeError):  # somebody else's idea of that metadata
        return set()


def _npy(path: Path, rows: int) -> Iterator[Any]:
    try:
        with np.errstate(over="raise"):  # a shape beyond what can be counted
            array = np.atleast_1d(np.lib.format.open_memmap(path, mode="r"))
    except (ValueError, EOFError, ArithmeticError) as error:
        raise TableError(f"not a plain numeric array: {error}") from None
    for start in range(0, max(len(array), 1), rows):
        yield np.array(array[start : start + rows])  # a copy: the file may change


def _parquet(path: Path, rows: int) -> Iterator[Any]:
    pyarrow = _pyarrow("a Parquet file")
    from pyarrow import parquet

    def batches(file: Any) -> Iterator[Any]:
        reader = parquet.ParquetFile(
            file, buffer_size=1 << 20, pre_buffer=False
        )  # else it reads whole row groups ahead
        yield from _or_empty(reader.iter_batches(batch_size=rows, use_threads=False), reader.schema_arrow)

    yield from _arrow_file(path, batches, pyarrow)


def _ipc(path: Path, rows: int) -> Iterator[Any]:
    pyarrow = _pyarrow("an Arrow file")
    from pyarrow import ipc

    def batches(file: Any) -> Iterator[Any]:
        reader = ipc.open_file(file)
        whole = (reader.get_batch(i) for i in range(reader.num_record_batches))
        parts = (batch.slice(start, rows) for batch in whole for start in range(0, batch.num_rows, rows))
        yield from _or_empty(parts, reader.schema)

    yield from _arrow_file(path, batches, pyarrow)


def _or_empty(batches: Iterator[Any], schema: Any) -> Iterator[Any]:
    first = next(batches, None)
    return chain([schema.empty_table() if first is None else first], batches)


def _arrow_file(path: Path, batches: Callable[[Any], Iterator[Any]], pyarrow: Any) -> Iterator[Any]:
    with path.open("rb") as file:
        try:
            yield from batches(file)
        except (pyarrow.ArrowException, OSError) as error:
            raise TableError(f"not readable as a {path.suffix[1:]} file: {error}") from None


def _csv(path: Path, rows: int) -> Iterator[Table]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = tuple(map(_clean, next(reader, [])))
            if not header:
                raise TableError("the first line is empty", hint="the first line names the columns")
            number = reader.line_num + 1
            blocks = iter(lambda: list(islice(file, rows)), [])
            for lines in chain([next(blocks, [])], blocks):
                yield Table(_cells(lines, header, number), header)
                number += len(lines)
    except (UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"not a CSV file in UTF-8: {error}") from None


def _cells(lines: list[str], header: tuple[str, ...], number: int) -> NDArray[np.float64]:
    """Lines of a CSV as float64 (n, d), read by numpy's parser, which is five times as fast as ours. It takes odd
    quoting, though, and says of a fault no more than that there is one: such lines are read cell by cell."""
    if not any(line.strip("\r\n") for line in lines):
        return np.empty((0, len(header)))
    if '"' not in "".join(lines):
        for source in (lines, _filled(lines)):
            try:
                values = np.loadtxt(source, delimiter=",", comments=None, ndmin=2)
            except ValueError:
                continue
            if values.shape[1] == len(header):
                return values
    return _cell_by_cell(lines, header, number)


def _filled(lines: list[str]) -> Iterator[str]:
    """The lines with "nan" in their empty cells."""
    for line in lines:
        cells = line.rstrip("\r\n")
        yield f",{cells},".replace(",,", ",nan,").replace(",,", ",nan,")[1:-1] if cells else ""


def _cell_by_cell(lines: list[str], header: tuple[str, ...], number: int) -> NDArray[np.float64]:
    reader = csv.reader(lines, strict=True)
    try:
        read = [cells_of(cells, header, number + reader.line_num - 1) for cells in reader if cells]
    except csv.Error as error:
        raise TableError(f"line {number + reader.line_num - 1}: {error}") from None
    return np.array(read, dtype=np.float64).reshape(len(read), len(header))


def cells_of(cells: Sequence[str], header: tuple[str, ...], number: int) -> list[float]:
    """The numbers of line ``number``; TableError says which of its cells is none."""
    if len(header) == 1:
        check_separated(header[0])
    if len(cells) != len(header):
        raise TableError(f"line {number} has {len(cells)} cells where the header has {len(header)}")
    return [_cell(cell.strip(), name, number) for name, cell in zip(header, cells, strict=True)]


def _cell(cell: str, name: str, number: int) -> float:
    try:
        if "_" in cell or not cell.isascii():  # Python reads 1_000 and other scripts' digits; numpy and people do not
            raise ValueError
        return float(cell or "nan")
    except ValueError:
        hint = "all columns have to hold numbers: leave out ids, texts and what is to be predicted"
        raise TableError(f"line {number}, column {name}: {cell[:40]!r} is not a number", hint=hint) from None


def check_separated(header: str) -> None:
    """TableError if the only name that a header has, in a file that cannot be read, looks like several."""
    for mark, name in SEPARATORS.items():
        if mark in header:
            raise TableError(f"the columns look separated by {name}, not by commas", hint="save the file with commas")


READERS: dict[str, Callable[[Path, int], Iterator[Any]]] = {
    ".npy": _npy,
    ".parquet": _parquet,
    ".arrow": _ipc,
    ".feather": _ipc,
}
