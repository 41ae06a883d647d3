"""A stranger with a CSV: the commands of the documentation, run as they stand there, against a running federation.

The first command, `pip install .`, takes minutes: with ``install`` it is run in a fresh virtual environment too.
"""

from __future__ import annotations

import asyncio
import csv
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from atoll.engine.tables import Table
from reuse_market import User, market
from reuse_nodes import Federated, federated
from search_figures import Figure

CHECKOUT = Path(__file__).resolve().parents[2]
TARGET, FEW, USERS = "arrival_delay", 100, 10
KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


async def measured(work: Path | None, install: bool) -> list[Figure]:
    """Seconds of each command, and what is there at the end."""
    made = market("flights", 0, users=USERS, work=work)
    user = made.users[0]
    with tempfile.TemporaryDirectory(prefix="atoll-stranger-") as folder:
        there = Path(folder)
        python, installing = await asyncio.to_thread(_installed, there) if install else (Path(sys.executable), 0.0)
        _write(there / "my_rows.csv", user.rows, user.truth)
        _write(there / "few.csv", Table(user.labelled.values[:FEW], user.labelled.columns), user.labels[:FEW])
        async with federated(made) as nodes:
            seconds, said = await _predict(python, nodes, there)
        lines = (there / "predictions.csv").read_text().splitlines()
        report = (there / "report.html").read_text("utf-8")
        return [
            Figure("pip install . in a fresh environment", installing, "s", note="" if install else "not run"),
            Figure("atoll predict, 1000 rows and 100 labelled", seconds, "s", note=said),
            Figure("lines of predictions.csv without its header", len(lines) - 1, "", len(user.truth), least=True),
            Figure("its mean squared error", _loss(user, lines)),
            Figure("bytes of report.html", len(report), "", 1000, least=True),
            Figure("scripts and foreign addresses in it", report.count("<script") + report.count("src=\"http"), "", 0),
        ]  # fmt: skip


async def _predict(python: Path, nodes: Federated, there: Path) -> tuple[float, str]:
    token = await nodes.asked.create_token("stranger", ("read", "predict"), 1)
    kept = KEPT if python != Path(sys.executable) else (*KEPT, "PYTHONPATH")  # nothing of ours in a fresh one
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {"ATOLL_URL": nodes.nodes[0].endpoint.url, "ATOLL_TOKEN": token.secret}
    command = (
        "predict", "my_rows.csv", "--target", TARGET, "--labelled", "few.csv", "-o", "predictions.csv",
        "--report", "report.html", "--yes",
    )  # fmt: skip
    began = perf_counter()
    process = await asyncio.create_subprocess_exec(
        str(python), "-m", "atoll.node.cli", *command, cwd=there, env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"atoll predict ended with {process.returncode}: {said.decode()}")
    return perf_counter() - began, " ".join(said.decode().split())[:200]


def _installed(there: Path) -> tuple[Path, float]:
    """The interpreter of a fresh environment with the checkout in it, and the seconds that took."""
    began = perf_counter()
    venv.create(there / "venv", with_pip=True)
    python = there / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", str(CHECKOUT)], check=True)
    return python, perf_counter() - began


def _write(path: Path, rows: Table, target: Sequence[Any]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*rows.columns, TARGET])
        writer.writerows([*row, value] for row, value in zip(rows.values.tolist(), target, strict=True))


def _loss(user: User, lines: Sequence[str]) -> float:
    values = [float(line.split(",")[-1]) for line in lines[1:]]
    return sum((value - truth) ** 2 for value, truth in zip(values, user.truth, strict=True)) / len(values)
