"""Runs tasks of the reference package in its own interpreter, given by ``ATOLL_LEARNWARE_PYTHON``."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np

PACKAGE_SIDE = Path(__file__).with_name("package_side.py")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Row:
    """One line of the table: CPU seconds of both sides (None: the package was not run) and figures of quality."""

    name: str
    ours_seconds: float
    package_seconds: float | None
    quality: dict[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        package = "-" if self.package_seconds is None else f"{self.package_seconds:.4g} s"
        factor = "" if self.package_seconds is None else f"{self.package_seconds / self.ours_seconds:.0f}x"
        quality = ", ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in self.quality.items()
        )
        return f"{self.name:45} {self.ours_seconds:10.4g} s {package:>11} {factor:>6}  {quality}"


def package(
    python: str | None, task: str, *, side: Path = PACKAGE_SIDE, at_most: float | None = None, **arrays: object
) -> dict[str, np.ndarray] | None:
    """The results of a task of ``package_side.py`` (or another ``side``), or None where no interpreter is given.

    ``at_most`` seconds of wall time, then it is stopped with subprocess.TimeoutExpired.
    """
    python = python or os.environ.get("ATOLL_LEARNWARE_PYTHON")
    if not python:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.npz"), Path(folder, "out.npz")
        np.savez(source, **arrays)
        command = [python, str(side), task, str(source), str(target)]
        subprocess.run(command, check=True, env=os.environ | ONE_THREAD, stdout=subprocess.DEVNULL, timeout=at_most)
        with np.load(target) as file:
            return dict(file)


def cpu(function: Callable[[], object], repeats: int = 5) -> tuple[float, object]:
    """The median CPU seconds of ``function()`` and its last result."""
    seconds = []
    for _ in range(repeats):
        started = process_time()
        result = function()
        seconds.append(process_time() - started)
    return median(seconds), result
