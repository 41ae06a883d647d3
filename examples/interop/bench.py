"""Three institutions in one federation, the package's client, and what was checked so far."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from atoll.node.api.learnwares import ListingView
from atoll.node.demo.processes import COMMAND, Institution, institution
from package_process import Package, package

NAMES = ("North University", "Harbour Clinic", "South Post")
SETTINGS = {
    "ATOLL__BEIMINGWU__DISCLOSE": "members", "ATOLL__BEIMINGWU__DOWNLOAD": "members",
    "ATOLL__BEIMINGWU__PREDICT": "members", "ATOLL__BEIMINGWU__DEADLINE_MS": "20000", "ATOLL__P2P__SYNC_SECONDS": "2",
    "ATOLL__SANDBOX__MAX_MODELS": "16",
}  # fmt: skip
CONVERGE_SECONDS = 60.0


@dataclass
class Checks:
    """One line each, as they come."""

    failed: list[str] = field(default_factory=list)
    passed: int = 0

    def __call__(self, words: str, holds: object, seen: object = "") -> None:
        """``seen`` is shown where it does not hold."""
        if holds:
            self.passed += 1
            print(f"ok    {words}", flush=True)
        else:
            self.failed.append(words)
            print(f"FAIL  {words}: {str(seen)[:600]}", flush=True)


@dataclass(frozen=True)
class Bench:
    """``hosts`` are what the package's client is told; the first node is the one that is asked."""

    check: Checks
    package: Package
    nodes: tuple[Institution, ...]
    federation: str
    folder: Path

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(f"{node.endpoint.url}/beimingwu" for node in self.nodes)

    async def call(self, name: str, node: int = 0, **arguments: Any) -> Any:
        """A call of the package's client at a node."""
        return await self.package.call(name, host=self.hosts[node], **arguments)

    async def atoll(self, *arguments: object, node: int = 0) -> tuple[int, Any]:
        """The command line against a node: exit code, and what ``--json`` prints, or the error."""
        asked = self.nodes[node]
        process = await asyncio.create_subprocess_exec(
            *COMMAND, *map(str, arguments), "--json", "--url", asked.endpoint.url, "--token", asked.token,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        return process.returncode or 0, json.loads(out) if out else err.decode()

    async def until(self, holds: Callable[[Mapping[str, ListingView]], bool]) -> None:
        """Until every node's catalogue, by id, is so."""
        for node in self.nodes:
            until = monotonic() + CONVERGE_SECONDS
            while not holds({each.learnware_id: each for each in await node.client.catalogue()}):
                if monotonic() > until:
                    raise TimeoutError(f"the catalogue of {node.name} is not so after {CONVERGE_SECONDS:g} s")
                await asyncio.sleep(0.2)  # other processes: there is no event to wait for


@asynccontextmanager
async def bench(python: str, folder: Path, check: Checks) -> AsyncIterator[Bench]:
    """Everything runs as long as the block."""
    async with AsyncExitStack() as stack:
        homes = [institution(name, folder / name.replace(" ", "-"), settings=SETTINGS) for name in NAMES]
        nodes = await asyncio.gather(*(stack.enter_async_context(home) for home in homes))
        founder, *others = nodes
        federation = (await founder.client.create_federation("Beimingwu and others")).id
        for other in others:
            await other.client.join((await founder.client.invite(federation)).invite)
        told = await stack.enter_async_context(package(python, folder / "package"))
        print(f"      nodes: {', '.join(node.endpoint.url for node in nodes)}; logs in {folder}", file=sys.stderr)
        yield Bench(check, told, tuple(nodes), federation, folder)
