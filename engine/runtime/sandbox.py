"""The sandbox of a node: one warm parent per runtime family and folders, at this machine's rung of the ladder."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import IO, NamedTuple
from weakref import WeakSet

from atoll.engine.errors import ModelError, ModelRefused
from atoll.engine.runtime import ladder
from atoll.engine.runtime.formats import BEIMINGWU, CODE, FORMATS, Trust, detect, require
from atoll.engine.runtime.layout import Folders
from atoll.engine.runtime.parent import ParentDied, WarmParent
from atoll.engine.runtime.process import ModelProcess
from atoll.engine.runtime.signature import Limits, Signature
from atoll.engine.runtime.start import start_worker
from atoll.engine.runtime.unpacked import Place, Unpacked
from atoll.engine.zips import length

WITH_FOLDERS = 16  # warm parents with folders of their own, unless more of them have workers


class Family(NamedTuple):
    """What one warm parent is for."""

    name: str
    folders: Folders


class Sandbox:
    """Thread-safe. ``rung`` is found out at the first model unless it is given. Models of many files run where there is
    a place to keep them ``unpacked``."""

    def __init__(
        self, limits: Limits = Limits(), rung: ladder.Rung | None = None,  # noqa: B008 - frozen
        unpacked: Unpacked | None = None,
    ) -> None:  # fmt: skip
        self._limits = limits
        self._unpacked = unpacked
        self._rung = rung
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="atoll-sandbox")
        self._gates: defaultdict[Family, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()
        self._workers: defaultdict[Family, WeakSet[ModelProcess]] = defaultdict(WeakSet)
        self._parents: OrderedDict[Family, WarmParent] = OrderedDict()
        self._closed = False

    def start(
        self, model: Path, signature: Signature, *, trust: Trust = "foreign", environment: str = ""
    ) -> ModelProcess:
        """A worker with the model loaded; ModelRefused, ModelError or SandboxLimit, and then nothing runs on.

        ``environment`` is a folder of packages that Python code and pickles find before the node's own, or "".
        """
        with ExitStack() as stack:
            file = stack.enter_context(model.open("rb"))
            self._limits.require_file(length(file))
            rung = self._rung or ladder.rung()
            name = detect(file)
            require(name, trust, rung.level, rung.missing, rung.hint)
            learnware = ""
            if name == BEIMINGWU:
                place = stack.enter_context(self._holding(file))
                learnware, file = str(place.files), stack.enter_context(place.entry.open("rb"))
            family = Family(FORMATS[name].family, Folders(environment if name in CODE else "", learnware))
            if family.folders.environment and rung.level != "strong":
                raise ModelRefused(f"environments need the strong sandbox: {rung.missing}", hint=rung.hint)
            try:
                worker = start_worker(self._parent(family, rung), name, file, signature, self._limits, rung.layers)
            except ParentDied:  # once more, with a new one
                worker = start_worker(self._parent(family, rung), name, file, signature, self._limits, rung.layers)
        with self._lock:
            self._workers[family].add(worker)
        return worker

    def folders(self) -> set[Path]:
        """Those that warm parents see."""
        with self._lock:
            return {Path(folder) for each in self._parents for folder in each.folders if folder}

    def close(self) -> None:
        """End every warm parent and its workers; idempotent."""
        with self._lock:
            self._closed = True
            parents = list(self._parents.values())
            self._parents.clear()
        for parent in parents:
            parent.close()
        self._starter.shutdown()

    def _holding(self, archive: IO[bytes]) -> AbstractContextManager[Place]:
        """Until a warm parent sees it: see :meth:`folders`."""
        if self._unpacked is None:
            raise ModelRefused("learnwares of many files are not unpacked here")
        return self._unpacked.holding(archive, self._limits.file_bytes)

    def _parent(self, family: Family, rung: ladder.Rung) -> WarmParent:
        with self._gates[family]:
            parent = self._parents.get(family)
            if self._closed:
                raise ModelError("the node is closing")
            if parent is None or not parent.alive:
                if parent is not None:
                    parent.close()
                parent = WarmParent(family.name, rung.level, self._starter, family.folders)
            for each in self._keep(family, parent):
                each.close()
            if self._closed:
                raise ModelError("the node is closing")
        return parent

    def _keep(self, family: Family, parent: WarmParent) -> list[WarmParent]:
        """Those that have to go for it: with folders, without a worker, and least recently used."""
        with self._lock:
            if self._closed:  # while it was starting
                return [parent]
            self._parents[family] = parent
            self._parents.move_to_end(family)
            held = [each for each in self._parents if any(each.folders)]
            idle = [each for each in held[:-1] if not any(worker.alive for worker in self._workers[each])]
            gone = idle[: max(0, len(held) - WITH_FOLDERS)]
            for each in gone:
                self._workers.pop(each, None)
            return [self._parents.pop(each) for each in gone]
