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
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from atoll.engine.errors import ModelRefused
from atoll.engine.runtime.frames import printable
from atoll.engine.runtime.requirements import Requirements, read

log = logging.getLogger("atoll.environments")
PACKAGES, LOCK, RECORD, WANTED = "packages", "requirements.lock", "environment.json", "requirements.in"
SECONDS = 1800.0
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
    """Thread-safe. They lie in ``root``, a folder each; ``index`` is where packages come from ("": as uv has it)."""

    def __init__(self, root: Path, index: str = "", seconds: float = SECONDS) -> None:
        self._root = root
        self._index = ("--default-index", index) if index else ()
        self._seconds = seconds
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def built(self, needs: Needs) -> Environment:
        """The environment, built now if it is not there; ModelRefused names what cannot be had. Minutes, at worst."""
        folder = self._root / needs.key
        with self._locks[needs.key]:
            known = _recorded(folder)
            return known if known is not None else self._build(read(needs.name, needs.data), folder)

    def keep_only(self, keys: Iterable[str]) -> None:
        """Delete those that no learnware needs any more, and what an interruption has left."""
        kept = set(keys)
        for folder in self._root.iterdir() if self._root.is_dir() else ():
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def _build(self, requirements: Requirements, folder: Path) -> Environment:
        requirements.check_python()
        self._root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._root, prefix="building-") as place:
            work = Path(place)
            left_out = self._lock(requirements, work)
            (work / PACKAGES).mkdir()
            installed = self._uv(
                work, "pip", "install", "--target", PACKAGES, "--no-deps", "--require-hashes", "--link-mode", "copy",
                *WHEELS, "-r", LOCK,
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

    def _lock(self, requirements: Requirements, work: Path) -> tuple[str, ...]:
        """Write what to install into LOCK; returns what had to be left out."""
        everything = (*requirements.wanted, *requirements.native)
        failure = self._resolved(everything, work)
        if not failure:
            return ()
        left_out = tuple(each for each in requirements.native if self._resolved((each,), work))
        kept = [each for each in everything if each not in left_out]
        if left_out:
            failure = self._resolved(kept, work)
        if not failure:
            return left_out
        missing = [each for each in requirements.wanted if self._resolved((each,), work)]
        if missing:
            raise ModelRefused(
                f"these packages cannot be had as wheels for Python {sys.version_info[0]}.{sys.version_info[1]} on "
                f"this machine: {', '.join(missing[:20])}",
                hint="ask for versions that can be had, or convert the model to ONNX",
            )
        raise ModelRefused(f"the packages cannot be had together: {failure}")

    def _resolved(self, wanted: Sequence[str], work: Path) -> str:
        """Write the versions and hashes of all that ``wanted`` needs into LOCK; why not, in words, or ""."""
        (work / WANTED).write_text("\n".join(wanted), "utf-8")
        options = ("--generate-hashes", "--no-header", "--no-annotate", "--quiet", *WHEELS)
        return self._uv(work, "pip", "compile", WANTED, "-o", LOCK, *options)

    def _uv(self, work: Path, *arguments: str) -> str:
        """Why it failed, in words, or ""."""
        environ = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
        command = (_uv_binary(), *arguments, *self._index, "--python", sys.executable)
        try:
            done = subprocess.run(
                command, cwd=work, env=environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=self._seconds,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise ModelRefused(f"the environment was not built in {self._seconds:g} s") from None
        words = " ".join(done.stderr.decode("utf-8", "replace").split())
        return printable(words, 600) or "uv does not say why" if done.returncode else ""


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
