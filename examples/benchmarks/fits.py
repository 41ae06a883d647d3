"""RKME fits: time and MMD^2 to the data, beside the reference package at the same gamma. python fits.py"""

from __future__ import annotations

import tracemalloc
from statistics import median

import numpy as np
from atoll.engine.specs import fit_rkme
from atoll.engine.specs.descent import Lifted, kernel_sums
from atoll.engine.specs.kernels import gaussian
from data import clustered
from numpy.typing import NDArray
from reference import Row, cpu, package

Rows = NDArray[np.float32]


def to_data(points: NDArray[np.floating], weights: NDArray[np.floating], rows: Rows, gamma: float, own: float) -> float:
    """MMD^2 between a weighted sample and all rows, in float64; ``own`` is <rows, rows>."""
    mean = sum(gaussian(points, block, gamma).sum(1) for block in np.array_split(rows, len(rows) // 10_000 + 1))
    w = weights.astype(np.float64)
    return float(w @ gaussian(points, points, gamma) @ w - 2.0 * w @ (mean / len(rows)) + own)


def self_product(rows: Rows, gamma: float) -> float:
    """<rows, rows>, in blocks: kernel values in float32, sums in float64."""
    lifted = Lifted(rows, gamma)
    blocks = np.array_split(rows, len(rows) // 250)
    return sum(float(kernel_sums(block, lifted, gamma)[1].sum(dtype=np.float64)) for block in blocks) / len(rows) ** 2


def compared(name: str, rows: Rows) -> Row:
    """One fit of ours and of the package at gamma = 1/d, m = 100; factors of MMD^2 say how much lower ours is."""
    gamma = 1.0 / rows.shape[1]
    own = self_product(rows, gamma)
    seconds, fitted = cpu(lambda: fit_rkme(rows, 100, gamma))
    ours = to_data(fitted.points, fitted.weights, rows, gamma, own)
    theirs = package(None, "fit", rows=rows, size=100, gamma=gamma, repeats=5 if len(rows) <= 10_000 else 1)
    if theirs is None:
        return Row(name, seconds, None, {"MMD^2": ours})
    lower = to_data(theirs["z"], theirs["beta"], rows, gamma, own) / ours
    return Row(name, seconds, median(theirs["seconds"]), {"MMD^2": ours, "times lower": lower})


def streamed() -> Row:
    """1e6 rows in chunks: time, and the peak of what is allocated beside the data."""
    chunks = np.array_split(clustered(1_000_000, 10), 16)
    seconds, fitted = cpu(lambda: fit_rkme(lambda: chunks, 100))
    tracemalloc.start()
    fit_rkme(lambda: chunks, 100)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return Row(
        "RKME fit, n=1e6, d=10, chunks", seconds, None, {"points": len(fitted.weights), "MB over the data": peak}
    )


def table() -> list[Row]:
    lines = [streamed()]
    for n, d in ((10_000, 100), (100_000, 10)):
        lines.append(compared(f"RKME fit, n={n}, d={d}, clusters", clustered(n, d)))
        blob = np.random.default_rng(0).standard_normal((n, d)).astype(np.float32)
        lines.append(compared(f"RKME fit, n={n}, d={d}, one blob", blob))
    return lines


if __name__ == "__main__":
    for row in table():
        print(row, flush=True)
