"""Rows to predict, and labelled ones, as arrays that a node maps: what the process that reads files does with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from atoll.engine.errors import AtollError, TableError
from atoll.engine.filling import filled, means_of
from atoll.engine.tables import Table
from atoll.engine.targets import chunks_without, read_labelled
from atoll.node.reuse.rows import MAX_LABELLED
from atoll.node.web.reading.fitting import Answer, Order, Reading, Sheet
from numpy.typing import NDArray

MOST_LABELLED = 1 << 25  # values, which the node loads
TOO_LARGE = "the file takes more memory than this page gives it; use `atoll predict`"

Chunks = Callable[[], Iterator[Table]]
Means = NDArray[np.float64] | None


def read(order: Order, reading: Reading, into: Sequence[BinaryIO]) -> Answer:
    """The rows as an array, and the labelled ones; what is wrong with either file is told of its field."""
    path, labelled, field = Path(Path(order.file).name), Path(Path(reading.labelled).name), "file"
    try:
        sheets = []
        if order.file != reading.labelled:
            means = means_of(chunks_without(path, reading.target)) if order.impute else None
            sheets.append(write(lambda: chunks_without(path, reading.target), into[0], reading, means))
        if reading.labelled:
            path, field = labelled, "labelled"
            sheets.append(_labelled(labelled, reading, into[-1], order.impute))
        return Answer(sheets=tuple(sheets))
    except AtollError as error:
        return Answer(refused=told(error, path, error.hint), field=field)
    except MemoryError:
        return Answer(refused=TOO_LARGE, field=field)


def told(error: AtollError, path: Path, hint: str | None) -> str:
    """An error as a fault of the form, which names no file."""
    words = error.message.removeprefix(f"{path}: ")
    return f"{words}; {hint}" if hint else words


def write(chunks: Chunks, into: BinaryIO, reading: Reading, means: Means = None) -> Sheet:
    """Rows as the bytes of a .npy, float64 (n, d), with ``means`` (d,) where cells are empty; NotFinite without."""
    count, width = 0, 0
    columns: tuple[str, ...] = ()
    for chunk in chunks():
        values = filled(chunk, means).values[: reading.rows - count if reading.rows else None]
        if not width:
            columns, width = chunk.columns, values.shape[1]
            _header(into, 0, width)
        count += len(values)
        if count * width > reading.cells:
            raise TableError(f"more than {reading.cells} values, which is the most here", hint="give fewer rows")
        into.write(np.ascontiguousarray(values, "<f8").tobytes())
        if count == reading.rows:
            break
    if not count:
        raise TableError("there are no rows")
    into.seek(0)
    _header(into, count, width)  # as long as the first: numpy leaves room for the number of rows
    into.flush()
    return Sheet(columns)


def _labelled(path: Path, reading: Reading, into: BinaryIO, impute: bool) -> Sheet:
    if not reading.target:
        raise TableError("which of its columns holds the labels?", hint="name it beside the file")
    rows, target = read_labelled(path, reading.target)
    if len(target) > MAX_LABELLED:
        raise TableError(f"{len(target)} labelled rows where at most {MAX_LABELLED} are taken", hint="a sample will do")
    bounded = Reading(reading.into, cells=min(reading.cells, MOST_LABELLED))
    return Sheet(write(lambda: iter([rows]), into, bounded, means_of([rows]) if impute else None).columns, target)


def _header(into: BinaryIO, count: int, width: int) -> None:
    described = {"descr": "<f8", "fortran_order": False, "shape": (count, width)}
    np.lib.format.write_array_header_1_0(into, described)
