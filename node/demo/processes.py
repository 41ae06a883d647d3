"""Nodes of the demo as processes of their own: made with ``atoll init``, run with ``atoll serve``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import msgspec
from atoll.node.client import AsyncClient
from atoll.node.client.endpoint import Endpoint
from atoll.node.errors import NodeUnreachable

NOTHING: Mapping[str, str] = MappingProxyType({})
START_SECONDS = 60.0
STOP_SECONDS = 10.0
COMMAND = (sys.executable, "-m", "atoll.node.cli")


@dataclass(frozen=True)
class Institution:
    """A running node and the way to talk to it."""

    name: str
    endpoint: Endpoint
    token: str
    client: AsyncClient
    process: asyncio.subprocess.Process


@asynccontextmanager
async def institution(
    name: str, home: Path, *, token: str | None = None, settings: Mapping[str, str] = NOTHING
) -> AsyncIterator[Institution]:
    """A node that lives as long as the block; it also ends when this process dies, however it dies.

    With a ``token`` the home is there already. ``settings`` override its configuration (ATOLL__SECTION__KEY).
    """
    token = token or await make_home(name, home)
    with (home / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "serve", "--home", str(home), "--json", "--exit-with-stdin",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
            env=_environment() | dict(settings), start_new_session=True,
        )  # fmt: skip
    try:
        endpoint = await _ready(name, process, home / "log")
        async with AsyncClient(endpoint.url, token, endpoint.certificate) as client:
            yield Institution(name, endpoint, token, client, process)
    finally:
        await _stop(process)


def _environment() -> dict[str, str]:
    """Two threads are enough for a node on a machine that runs three; no setting of the caller's leaks in."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ATOLL_")}
    return {**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


async def make_home(name: str, home: Path) -> str:
    """Make a home with ``atoll init``; returns the admin token."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "init", "--home", str(home), "--name", name, "--http-port", "0",
        "--listen", "/ip4/127.0.0.1/tcp/0", "--json", stdout=asyncio.subprocess.PIPE, env=_environment(),
    )  # fmt: skip
    output, _ = await process.communicate()
    if process.returncode:
        raise NodeUnreachable(f"`atoll init` for {name} ended with exit code {process.returncode}")
    return str(msgspec.json.decode(output)["token"])


async def _ready(name: str, process: asyncio.subprocess.Process, log: Path) -> Endpoint:
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
    except TimeoutError:
        line = b""
    if not line:
        raise NodeUnreachable(f"the node of {name} did not start: {log.read_text('utf-8', 'replace')[-800:]}")
    return msgspec.json.decode(line, type=Endpoint)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
