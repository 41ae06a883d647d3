"""Predictions as a CSV: the label or value of each row first, then the probabilities; rows in the order of the data."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from atoll.node.store.durable import replacing
from numpy.typing import NDArray

PUBLIC = 0o666  # mode of a new file, less the umask
BLOCK = 10_000  # rows
DIGITS = 6


def labels_of(values: NDArray[np.float64], class_names: tuple[str, ...]) -> tuple[str, ...]:
    """The likeliest class of each row (n, c), empty where nothing was predicted; nothing for a regression."""
    if not class_names:
        return ()
    answered = ~np.isnan(values).any(axis=1)
    places = np.where(answered, np.where(np.isnan(values), -1.0, values).argmax(axis=1), -1)
    return tuple(class_names[place] if place >= 0 else "" for place in places)


def write(path: Path, values: NDArray[np.float64], class_names: tuple[str, ...]) -> None:
    """Whole or not at all; StoreError where the disk does not play along."""
    with replacing(path, PUBLIC) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        write_to(text, values, class_names)
        text.detach()  # flushed; the file is closed by whoever opened it


def write_to(file: IO[str], values: NDArray[np.float64], class_names: tuple[str, ...]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    width = values.shape[1]
    nameless = ["value"] if width == 1 else [f"value_{place}" for place in range(1, width + 1)]
    writer.writerow(["label", *class_names] if class_names else nameless)
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK]
        writer.writerows(_lines(block, labels_of(block, class_names)))


def _lines(values: NDArray[np.float64], labels: tuple[str, ...]) -> Iterator[list[str]]:
    for place, row in enumerate(values.tolist()):
        cells = ["" if value != value else f"{value:.{DIGITS}g}" for value in row]
        yield [labels[place], *cells] if labels else cells
