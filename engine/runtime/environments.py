"""Environments: the packages of a learnware of Python code, built once by its owner and never changed.

uv resolves and installs. Wheels only: nothing of a package is executed while it is installed. What was resolved is
locked by version and hash beside the packages, which the sandbox sees read-only, before the node's own.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
from atoll.engine.errors import ModelRefused, SandboxBusy
from atoll.engine.folders import keep_only
from atoll.engine.runtime.frames import printable
from atoll.engine.runtime.requirements import Requirements, read

log = logging.getLogger("atoll.environments")
PACKAGES, LOCK, RECORD, WANTED = "packages", "requirements.lock", "environment.json", "requirements.in"
SECONDS = 1800.0  # of one build
REMEMBERED, MOST_REMEMBERED = 300.0, 256  # seconds for which a failure stands, and how many are known
WHEELS = ("--only-binary", ":all:")


class Needs(NamedTuple):
    """A list of requirements as it lies in a package: the file's name and its bytes."""

    name: str
    data: bytes

    @property
    def key(self) -> str:
        """By the list, the interpreter and the machine: another of them needs another environment."""
        tag = f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}"
        return hashlib.sha256(b"\0".join((tag.encode(), self.name.encode(), self.data))).hexdigest()[:32]


class Environment(msgspec.Struct, frozen=True):
    """``packages`` is the folder that goes on the path; ``locked`` is "name==version" of each package; ``left_out`` are
    those of conda that no index of Python packages has."""

    packages: str
    locked: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        left_out = f"; left out, no Python packages: {', '.join(self.left_out)}" if self.left_out else ""
        return f"{len(self.locked)} packages, locked by hash{left_out}"


class Environments:
    """Thread-safe. They lie in ``root``, a folder each; ``index`` is where packages come from ("": as uv has it). What
    cannot be built within ``seconds``, or at all, is not tried again for some minutes."""

    def __init__(self, root: Path, index: str = "", seconds: float = SECONDS) -> None:
        self._root = root.absolute()
        self._index = ("--default-index", index) if index else ()
        self._seconds = seconds
        self._gate = threading.Lock()
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._failed: dict[str, tuple[float, ModelRefused]] = {}
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def built(self, needs: Needs, *, wait: bool = True) -> Environment:
        """The environment, built now if it is not there; ModelRefused names what cannot be had. Minutes, at worst.

        SandboxBusy where another thread is building it, unless it is to ``wait`` for that.
        """
        folder = self._root / needs.key
        known = _recorded(folder)
        if known is not None:
            return known
        with self._gate:
            lock = self._locks[needs.key]
        if not lock.acquire(blocking=wait):
            raise SandboxBusy("the environment of this model is being built", hint="try again in some minutes")
        try:
            known = _recorded(folder)
            return known if known is not None else self._tried(needs)
        finally:
            lock.release()

    def keep_only(self, keys: Iterable[str], *, spared_seconds: float = 0.0) -> None:
        """Delete those that no learnware needs any more; not what was built less than so many seconds ago, since a
        package may just be judged with it."""
        keep_only(self._root, keys, spared_seconds=spared_seconds)

    def close(self) -> None:
        """End what is being built; nothing is built any more."""
        with self._gate:
            self._closed = True
            for process in self._running:
                process.kill()

    def _tried(self, needs: Needs) -> Environment:
        when, failure = self._failed.get(needs.key, (0.0, None))
        if failure is not None and time.monotonic() < when + REMEMBERED:
            raise failure
        try:
            return self._build(read(needs.name, needs.data), self._root / needs.key)
        except ModelRefused as error:
            self._failed[needs.key] = (time.monotonic(), error)
            raise
        finally:
            while len(self._failed) > MOST_REMEMBERED:
                self._failed.pop(next(iter(self._failed)))

    def _build(self, requirements: Requirements, folder: Path) -> Environment:
        requirements.check_python()
        until = time.monotonic() + self._seconds
        self._root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._root, prefix="building-") as place:
            work = Path(place)
            left_out = self._lock(requirements, work, until)
            (work / PACKAGES).mkdir()
            installed = self._uv(
                work, until, "pip", "install", "--target", PACKAGES, "--no-deps", "--require-hashes", "--link-mode",
                "copy", *WHEELS, "-r", LOCK,
            )  # fmt: skip
            if installed:
                raise ModelRefused(f"the environment cannot be installed: {installed}")
            lines = (work / LOCK).read_text("utf-8").splitlines()
            locked = tuple(line.split()[0] for line in lines if line[:1].isalnum())
            environment = Environment(str(folder / PACKAGES), locked, left_out)
            (work / RECORD).write_bytes(msgspec.json.encode(environment))
            shutil.rmtree(folder, ignore_errors=True)  # one whose record does not read
            os.rename(work, folder)
            work.mkdir()  # for the context to remove
        log.info("an environment was built: %s", environment.words)
        return environment

    def _lock(self, requirements: Requirements, work: Path, until: float) -> tuple[str, ...]:
        """Write what to install into LOCK; returns what had to be left out."""
        everything = (*requirements.wanted, *requirements.native)
        failure = self._resolved(everything, work, until)
        if not failure:
            return ()
        left_out = tuple(each for each in requirements.native if self._resolved((each,), work, until))
        kept = [each for each in everything if each not in left_out]
        if left_out:
            failure = self._resolved(kept, work, until)
        if not failure:
            return left_out
        missing = [each for each in requirements.wanted if self._resolved((each,), work, until)]
        if missing:
            raise ModelRefused(
                f"these packages cannot be had as wheels for Python {sys.version_info[0]}.{sys.version_info[1]} on "
                f"this machine: {', '.join(missing[:20])}",
                hint="ask for versions that can be had, or convert the model to ONNX",
            )
        raise ModelRefused(f"the packages cannot be had together: {failure}")

    def _resolved(self, wanted: Sequence[str], work: Path, until: float) -> str:
        """Write the versions and hashes of all that ``wanted`` needs into LOCK; why not, in words, or ""."""
        (work / WANTED).write_text("\n".join(wanted), "utf-8")
        options = ("--generate-hashes", "--no-header", "--no-annotate", "--quiet", *WHEELS)
        return self._uv(work, until, "pip", "compile", WANTED, "-o", LOCK, *options)

    def _uv(self, work: Path, until: float, *arguments: str) -> str:
        """Why it failed, in words, or ""."""
        environ = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
        command = (_uv_binary(), *arguments, *self._index, "--python", sys.executable)
        with self._started(command, work, environ) as process:
            try:
                _, printed = process.communicate(timeout=max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                raise ModelRefused(f"the environment was not built in {self._seconds:g} s") from None
        if self._closed:
            raise ModelRefused("the node is closing")
        words = " ".join(printed.decode("utf-8", "replace").split())
        return printable(words, 600) or "uv does not say why" if process.returncode else ""

    @contextmanager
    def _started(
        self, command: Sequence[str], work: Path, environ: Mapping[str, str]
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A process that :meth:`close` ends."""
        with self._gate:
            if self._closed:
                raise ModelRefused("the node is closing")
            process = subprocess.Popen(
                command, cwd=work, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )  # fmt: skip
            self._running.add(process)
        try:
            with process:
                yield process
        finally:
            with self._gate:
                self._running.discard(process)


def _recorded(folder: Path) -> Environment | None:
    try:
        found = msgspec.json.decode((folder / RECORD).read_bytes(), type=Environment)
    except (OSError, msgspec.DecodeError):
        return None
    return msgspec.structs.replace(found, packages=str(folder / PACKAGES))  # the home may have been moved


def _uv_binary() -> str:
    try:
        found: str = importlib.import_module("uv").find_uv_bin()
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv") or ""
    if not found:
        raise ModelRefused(
            "environments of Python code are built with uv, which is not installed",
            hint="pip install 'atoll[environments]'",
        )
    return found
