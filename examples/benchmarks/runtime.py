"""What the sandbox costs: cold load from a warm parent, warm calls, rows a second. Prints a table.

Ratios and differences are taken within one run, against the same model called in this very process.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from atoll.engine.packages.convert import to_onnx
from atoll.engine.runtime import ModelPool, Sandbox, Signature, rung
from atoll.engine.runtime.onnx_model import OnnxModel
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

DIGITS = Signature("classification", 64, 10)


def median_ms(act: Callable[[], object], times: int = 200) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        act()
        taken.append(time.perf_counter() - start)
    return 1000 * statistics.median(taken)


def main() -> None:
    values, labels = load_digits(return_X_y=True)
    rows = values.astype(np.float32)
    data = to_onnx(LogisticRegression(max_iter=2000).fit(values, labels), 64)
    many = np.resize(rows, (10_000, 64)).astype(np.float32)
    print(f"rung: {rung().level} ({', '.join(rung().layers)}); load average {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        path.write_bytes(data)
        direct = OnnxModel(data, DIGITS, 1)
        sandbox, pool = Sandbox(), ModelPool(4)
        try:
            start = time.perf_counter()
            sandbox.start(path, DIGITS).close()
            print(f"first load, warm parent included: {time.perf_counter() - start:.2f} s")
            cold = median_ms(lambda: sandbox.start(path, DIGITS).close(), 30)
            print(f"cold load from a warm parent:     {cold:.1f} ms")
            for n in (1, 100, 1000):
                pool.predict("model", path, DIGITS, rows[:n])
                inside = median_ms(lambda n=n: pool.predict("model", path, DIGITS, rows[:n]))  # type: ignore[misc]
                here = median_ms(lambda n=n: direct.predict(rows[:n]))  # type: ignore[misc]
                print(f"warm call, {n:4} rows x 64:         {inside:.3f} ms, in process {here:.3f} ms")
            inside = median_ms(lambda: pool.predict("model", path, DIGITS, many), 20)
            here = median_ms(lambda: direct.predict(many), 20)
            print(f"10 000 rows x 64:                 {1e7 / inside:,.0f} rows/s, in process {1e7 / here:,.0f} rows/s")
        finally:
            pool.close()
            sandbox.close()


if __name__ == "__main__":
    main()
