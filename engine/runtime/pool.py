"""Workers by (model digest, tenant): least recently used out, calls queue up, three crashes quarantine a digest."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from atoll.engine.errors import ModelError, ModelRefused, SandboxBusy
from atoll.engine.runtime.environments import Environment, Environments, Needs
from atoll.engine.runtime.formats import Trust
from atoll.engine.runtime.ladder import Rung
from atoll.engine.runtime.parent import ParentDied
from atoll.engine.runtime.process import ModelProcess
from atoll.engine.runtime.sandbox import Sandbox
from atoll.engine.runtime.signature import Limits, Signature
from atoll.engine.runtime.unpacked import Unpacked
from numpy.typing import NDArray

CRASHES = 3

# digest, tenant, environment, whose, what it promises: what runs for one is not there for another
Slot = tuple[str, str, str, Trust, Signature]


class ModelPool:
    """Thread-safe. At most ``size`` models stay loaded, and no more than ``workers_per_core`` allow. Without
    ``environments`` code runs with the node's own packages only; without ``unpacked`` nothing of many files does."""

    def __init__(
        self, size: int = 8, limits: Limits = Limits(), rung: Rung | None = None,  # noqa: B008
        environments: Environments | None = None, unpacked: Unpacked | None = None,
    ) -> None:  # fmt: skip
        self._size = max(1, min(size, limits.workers_per_core * (os.cpu_count() or 1)))
        self.limits = limits
        self._sandbox = Sandbox(limits, rung, unpacked)
        self._environments = environments
        self._unpacked = unpacked
        self._changed = threading.Condition()
        self._idle: OrderedDict[Slot, ModelProcess] = OrderedDict()
        self._busy: dict[Slot, ModelProcess | None] = {}
        self._waiting = 0
        self._crashes: Counter[str] = Counter()
        self._closed = False

    def predict(
        self, key: str, model: Path, signature: Signature, rows: NDArray[np.float32], *, trust: Trust = "foreign",
        tenant: str = "", needs: Needs | None = None,
    ) -> NDArray[np.float32]:  # fmt: skip
        """Run ``rows`` through the model with digest ``key``; float32 (n, outputs).

        ``trust``: "own" models run in any format, on any rung. ``tenant``: whose rows; no two share a worker.
        ``needs``: what its environment is built of, now if that has not been done.
        SandboxBusy where too many calls wait already; ModelRefused, ModelError or SandboxLimit else.
        """
        environment = self.environment(needs, wait=False)
        slot = (key, tenant, environment.packages if environment else "", trust, signature)
        process = self._take(slot)
        try:
            if process is None:
                process = self._start(slot, model, signature)
            return process.predict(rows)
        except ModelError:
            if process is not None and not process.alive:
                self._crashes[key] += 1
            raise
        finally:
            self._give_back(slot, process)

    @property
    def loaded(self) -> tuple[int, int]:
        """Models that wait for a call, and those that are at one or being loaded."""
        with self._changed:
            return len(self._idle), len(self._busy)

    def environment(self, needs: Needs | None, *, wait: bool = True) -> Environment | None:
        """What is needed, built; None where nothing is. ModelRefused and SandboxBusy as Environments.built."""
        if needs is None:
            return None
        if self._environments is None:
            raise ModelRefused("no environments are built here")
        return self._environments.built(needs, wait=wait)

    def keep_folders(self, names: Iterable[str], spared_seconds: float = 0.0) -> None:
        """Delete environments and unpacked learnwares but those of these names and those in use; environments only if
        they were not built less than so many seconds ago."""
        kept = set(names)
        if self._environments is not None:
            self._environments.keep_only(kept | self._in_use(), spared_seconds=spared_seconds)
        if self._unpacked is not None:
            self._unpacked.keep_only(kept, self._in_use)

    def _in_use(self) -> set[str]:
        return {folder.parent.name for folder in self._sandbox.folders()}

    def close(self) -> None:
        """No process is left; calls that run end with ModelError."""
        if self._environments is not None:
            self._environments.close()
        with self._changed:
            self._closed = True
            idle, busy = list(self._idle.values()), list(filter(None, self._busy.values()))
            self._idle.clear()
            self._changed.notify_all()
        for process in busy:
            process.kill()  # whoever called it closes it
        for process in idle:
            process.close()
        self._sandbox.close()

    def _take(self, slot: Slot) -> ModelProcess | None:
        """The slot's worker, now ours alone, or None with room made for a new one."""
        deadline = time.monotonic() + self.limits.load_seconds + self.limits.call_seconds
        with self._changed:
            while True:
                if self._closed:
                    raise ModelError("the node is closing")
                if self._crashes[slot[0]] >= CRASHES:
                    raise ModelRefused(f"the model is quarantined after {CRASHES} crashes")
                if slot not in self._busy:
                    process = self._idle.pop(slot, None)
                    if process is not None and process.alive:
                        self._busy[slot] = process
                        return process
                    if process is not None:
                        process.close()
                    if self._make_room():
                        self._busy[slot] = None
                        return None
                self._wait(deadline)

    def _make_room(self) -> bool:
        if len(self._busy) >= self._size:
            return False
        while len(self._busy) + len(self._idle) >= self._size:
            self._idle.popitem(last=False)[1].close()
        return True

    def _wait(self, deadline: float) -> None:
        if self._waiting >= self.limits.queue:
            raise SandboxBusy(f"{self._waiting} calls wait for a model already", hint="try again in a few seconds")
        self._waiting += 1
        try:
            if not self._changed.wait(deadline - time.monotonic()):
                raise SandboxBusy("no worker became free in time", hint="try again in a few seconds")
        finally:
            self._waiting -= 1

    def _start(self, slot: Slot, model: Path, signature: Signature) -> ModelProcess:
        digest, _, environment, trust, _ = slot
        try:
            process = self._sandbox.start(model, signature, trust=trust, environment=environment)
        except ModelError as error:
            if not isinstance(error, (ModelRefused, ParentDied)):
                self._crashes[digest] += 1
            raise
        with self._changed:
            self._busy[slot] = process
            if self._closed:
                process.kill()
        return process

    def _give_back(self, slot: Slot, process: ModelProcess | None) -> None:
        with self._changed:
            self._busy.pop(slot, None)
            if process is not None and process.alive and not self._closed:
                self._idle[slot] = process
            elif process is not None:
                process.close()
            self._changed.notify_all()
