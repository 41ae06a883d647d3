"""A pool of model processes by model digest: least recently used out, three crashes quarantine a digest."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
from atoll.engine.errors import ModelError, ModelRefused
from atoll.engine.runtime.process import ModelProcess
from atoll.engine.runtime.signature import Limits, Signature
from numpy.typing import NDArray

CRASHES = 3


class ModelPool:
    """Thread-safe."""

    def __init__(self, size: int = 8, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        self._size = size
        self._limits = limits
        self._lock = threading.Lock()
        self._starting: dict[str, threading.Lock] = {}
        self._processes: OrderedDict[str, ModelProcess] = OrderedDict()
        self._crashes: Counter[str] = Counter()

    def predict(self, key: str, model: Path, signature: Signature, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run ``rows`` through the model with digest ``key``; float32 (n, outputs)."""
        if self._crashes[key] >= CRASHES:
            raise ModelRefused(f"the model is quarantined after {CRASHES} crashes")
        process = self._running(key, model, signature)
        try:
            return process.predict(rows)
        except ModelError:
            if not process.alive:
                with self._lock:
                    self._crashes[key] += 1
                    self._processes.pop(key, None)
                process.close()
            raise

    def close(self) -> None:
        with self._lock:
            processes, self._processes = list(self._processes.values()), OrderedDict()
        for process in processes:
            process.close()

    def _running(self, key: str, model: Path, signature: Signature) -> ModelProcess:
        with self._lock:
            gate = self._starting.setdefault(key, threading.Lock())
        with gate:
            with self._lock:
                process = self._processes.get(key)
                if process is not None and process.alive:
                    self._processes.move_to_end(key)
                    return process
            if process is not None:
                process.close()
            started = ModelProcess.start(model, signature, self._limits)
            with self._lock:
                self._processes[key] = started
                old = [self._processes.popitem(last=False)[1] for _ in range(len(self._processes) - self._size)]
            for process in old:
                process.close()
            return started
