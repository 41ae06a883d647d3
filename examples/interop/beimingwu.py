"""At home with Beimingwu, shown: its unmodified client against three nodes, its searches, its packages.

    python beimingwu.py [--python INTERPRETER | --environment FOLDER] [--work FOLDER] [--record FILE]

Prints one line a check and exits with 1 if one fails. INTERPRETER has ``learnware==0.4.0.post1`` with numpy>=2,
fast_pytorch_kmeans, lightgbm, torch and, to run what is exported, onnxruntime; without it an environment is made in
FOLDER, which takes minutes and gigabytes. ``--record`` writes what the package's searchers find, for
tests/engine/beimingwu/parity.json, and does nothing else. Everything runs on this machine's loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import traceback
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import calls
import commands
import parity_checks
from bench import Bench, Checks, bench
from package_process import interpreter

T = TypeVar("T")


async def shown(python: str, folder: Path) -> Checks:
    """Everything, in the order in which a newcomer would do it."""
    check = Checks()
    known = await asyncio.to_thread(parity_checks.recorded, python, folder)
    async with bench(python, folder, check) as three:
        await calls.sign_in(three)
        await part(three, "parity of searches", parity_checks.parity(three, known))
        made = await three.package.call("make", folder=str(folder))
        ids = await part(three, "upstream's demo", calls.demo(three, made)) or {}
        await part(three, "words", calls.words(three, made, ids))
        await part(three, "downloads", calls.downloads(three, made, ids))
        large = await part(three, "an upload that is cut", calls.cut(three, made))
        imported = await part(three, "import", commands.imports(three, made))
        await part(three, "back", commands.back(three, imported or ""))
        await part(three, "export", commands.exports(three))
        await part(three, "leaving", calls.leave(three, large or "", 0))
    return check


async def part(three: Bench, name: str, work: Awaitable[T]) -> T | None:
    """What ends a part early is a failure of it, and the next part is run."""
    try:
        return await work
    except Exception as error:
        traceback.print_exc()
        three.check(f"{name}, to its end", False, error)
        return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", help="an interpreter that has the package (or ATOLL_LEARNWARE_PYTHON)")
    parser.add_argument("--environment", type=Path, default=Path("learnware-environment"))
    parser.add_argument("--work", type=Path, help="keep homes, logs and zips there")
    parser.add_argument("--record", type=Path)
    asked = parser.parse_args()
    python = asked.python or os.environ.get("ATOLL_LEARNWARE_PYTHON") or interpreter(asked.environment.resolve())
    with tempfile.TemporaryDirectory(prefix="atoll-beimingwu-") as temporary:
        folder = (asked.work or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if asked.record:
            parity_checks.write(parity_checks.recorded(python, folder), asked.record)
            return 0
        check = asyncio.run(shown(python, folder))
    print(f"{check.passed} checks hold, {len(check.failed)} fail" + "".join(f"\n  {each}" for each in check.failed))
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())
