"""Predictions as CSV, block by block: the label of each row and the probability of each class, or the values; empty
cells in rows that have no answer.

Names of classes are other people's text: in a terminal they move no cursor, in a spreadsheet they are no formula.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from atoll.node.store.durable import replacing
from numpy.typing import NDArray

BLOCK = 8192  # rows
DIGITS = 6  # of a probability
VALUE_DIGITS = 9  # of a value: what a model's float32 holds
NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")


def labels_of(values: NDArray[np.float64], class_names: tuple[str, ...]) -> tuple[str, ...]:
    """The likeliest class of each row (n, c), empty where nothing was predicted; nothing for a regression."""
    if not class_names:
        return ()
    answered = ~np.isnan(values).any(axis=1)
    places = np.where(answered, np.where(np.isnan(values), -1.0, values).argmax(axis=1), -1)
    return tuple(class_names[place] if place >= 0 else "" for place in places)


def csv_blocks(values: NDArray[np.float64], class_names: tuple[str, ...]) -> Iterator[str]:
    """The rows (n, c), which may be mapped from a file, in their order, after a line that names the columns."""
    class_names = tuple(map(_harmless, class_names))
    width, digits = values.shape[1], DIGITS if class_names else VALUE_DIGITS
    nameless = ["value"] if width == 1 else [f"value_{place}" for place in range(1, width + 1)]
    yield _lines([["label", *class_names] if class_names else nameless])
    for start in range(0, len(values), BLOCK):
        block = np.array(values[start : start + BLOCK])
        labels = labels_of(block, class_names)
        rows = [["" if value != value else f"{value:.{digits}g}" for value in row] for row in block.tolist()]
        yield _lines([label, *row] for label, row in zip(labels, rows, strict=True)) if labels else _lines(rows)


def csv_file(predictions: Path, class_names: tuple[str, ...]) -> Path:
    """The CSV beside a .npy of predictions, written when it is first asked for; blocking."""
    path = predictions.with_suffix(".csv")
    if not path.exists():
        with replacing(path, 0o600) as file:
            file.writelines(block.encode() for block in csv_blocks(np.load(predictions, mmap_mode="r"), class_names))
    return path


def _harmless(name: str) -> str:
    """Unprintable characters as spaces; an apostrophe before what a spreadsheet would calculate."""
    shown = "".join(character if character.isprintable() else " " for character in name)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) and not NUMBER.fullmatch(shown) else shown


def _lines(rows: Iterable[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
