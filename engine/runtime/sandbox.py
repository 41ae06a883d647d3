"""The sandbox of a node: one warm parent per runtime family, at this machine's rung of the ladder."""

from __future__ import annotations

import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from atoll.engine.errors import ModelRefused
from atoll.engine.runtime import ladder
from atoll.engine.runtime.formats import FORMATS, detect, require
from atoll.engine.runtime.parent import ParentDied, WarmParent
from atoll.engine.runtime.process import ModelProcess
from atoll.engine.runtime.signature import Limits, Signature
from atoll.engine.runtime.start import start_worker
from atoll.engine.zips import length


class Sandbox:
    """Thread-safe. ``rung`` is found out at the first model unless it is given."""

    def __init__(self, limits: Limits = Limits(), rung: ladder.Rung | None = None) -> None:  # noqa: B008 - frozen
        self._limits = limits
        self._rung = rung
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="atoll-sandbox")
        self._gates: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._parents: dict[str, WarmParent] = {}

    def start(self, model: Path, signature: Signature, *, own: bool = False) -> ModelProcess:
        """A worker with the model loaded; ModelRefused, ModelError or SandboxLimit, and then nothing runs on."""
        with model.open("rb") as file:
            if (size := length(file)) > self._limits.file_bytes:
                raise ModelRefused(f"the model has {size} bytes, at most {self._limits.file_bytes} are run")
            rung = self._rung or ladder.rung()
            name = detect(file)
            require(name, own, rung.level, rung.missing, rung.hint)
            try:
                return start_worker(self._parent(name, rung), name, file, signature, self._limits, rung.layers)
            except ParentDied:  # once more, with a new one
                return start_worker(self._parent(name, rung), name, file, signature, self._limits, rung.layers)

    def close(self) -> None:
        """End every warm parent and its workers; idempotent."""
        for parent in self._parents.values():
            parent.close()
        self._parents.clear()
        self._starter.shutdown()

    def _parent(self, name: str, rung: ladder.Rung) -> WarmParent:
        family = FORMATS[name].family
        with self._gates[family]:
            parent = self._parents.get(family)
            if parent is None or not parent.alive:
                if parent is not None:
                    parent.close()
                parent = self._parents[family] = WarmParent(family, rung.level, self._starter)
            return parent
