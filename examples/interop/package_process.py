"""The ``learnware`` package in an interpreter of its own: made here once, or given; told what to do line by line."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import venv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TORCH = "torch~=2.13.0"  # where pip would take one with CUDA, install the CPU build first: --python
PACKAGES = ("learnware==0.4.0.post1", "numpy>=2", "fast_pytorch_kmeans", "lightgbm", "onnxruntime", TORCH)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
MOST_LINE = 256 << 20


class PackageFailedError(Exception):
    """The package's client has raised; its words."""


def interpreter(folder: Path) -> str:
    """That of an environment in ``folder``, made if it is not there: takes minutes and some gigabytes."""
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
        (folder / "complete").touch()
    return str(python)


def run(python: str, script: str, *arguments: Path) -> None:
    """One script of this folder, to its end."""
    subprocess.run([python, HERE / script, *arguments], check=True, env=os.environ | ONE_THREAD, stderr=sys.stderr)


class Package:
    """``await package.call(name, ...)`` runs a function of ``package_calls.py``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def call(self, name: str, **arguments: Any) -> Any:
        """Its result; PackageFailedError with what the package has raised."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"call": name, "arguments": arguments}).encode() + b"\n")
        await self._process.stdin.drain()
        line = await self._process.stdout.readline()
        if not line:
            raise PackageFailedError("the package's interpreter has ended; see the log")
        answer = json.loads(line)
        if "error" in answer:
            raise PackageFailedError(answer["error"])
        return answer["result"]


@asynccontextmanager
async def package(python: str, home: Path) -> AsyncIterator[Package]:
    """A running interpreter; what the package keeps goes under ``home``, and so does its log."""
    home.mkdir(parents=True, exist_ok=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ATOLL_", "PYTHON", "LEARNWARE_"))}
    environment = kept | ONE_THREAD | {"HOME": str(home), "LEARNWARE_STORAGE_PATH": str(home / "pool")}
    with (home / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            python, str(HERE / "package_calls.py"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=log, env=environment, limit=MOST_LINE,
        )  # fmt: skip
        try:
            yield Package(process)
        finally:
            process.kill()
            await process.wait()
