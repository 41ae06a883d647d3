"""Predictions on their way out of the command line: to a file, whole or not at all, or to standard output."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from atoll.node.reuse.written import csv_blocks
from atoll.node.store.durable import replacing
from numpy.typing import NDArray

PUBLIC = 0o666  # mode of a new file, less the umask


def write(path: Path, values: NDArray[np.float64], class_names: tuple[str, ...]) -> None:
    """StoreError where the disk does not play along."""
    with replacing(path, PUBLIC) as file:
        file.writelines(block.encode() for block in csv_blocks(values, class_names))


def show(values: NDArray[np.float64], class_names: tuple[str, ...]) -> None:
    sys.stdout.writelines(csv_blocks(values, class_names))
    sys.stdout.flush()
