"""The benchmark's side of nodes in other processes, and searches over HTTP as a client sees them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp
from atoll.engine.islands import Island
from atoll.engine.specs import Rkme
from search_homes import Homes, make_homes
from search_market import Market

NODES = Path(__file__).with_name("search_nodes.py")
LINE = 1 << 20
PREPARING = 60  # seconds
Query = list[tuple[Island, Rkme]]


class Nodes:
    """The nodes of one process; ``told`` are their peers, URLs and addresses."""

    def __init__(self, process: asyncio.subprocess.Process, told: list[dict[str, str]]) -> None:
        self.process = process
        self.told = told

    async def obey(self, do: str, **more: object) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, **more}).encode() + b"\n")
        return dict(json.loads(await self.process.stdout.readline()))

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def started(homes: Sequence[Path]) -> AsyncIterator[Nodes]:
    """The nodes of these homes, in a process of their own."""
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    log = homes[0] / "log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(NODES), *map(str, homes), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=file, env=os.environ | one_thread, limit=LINE,
        )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(120):
            line = await process.stdout.readline()
        if not line:
            raise RuntimeError(f"the nodes did not start: {log.read_text('utf-8', 'replace')[-2000:]}")
        yield Nodes(process, json.loads(line))
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 20)
        except TimeoutError:
            process.kill()
            await process.wait()


@dataclass
class Seen:
    """A search as its client saw it: seconds from the request to the plan, to the last provisional hit, to the first
    answer and to the end; and the answers."""

    plan: float = 0.0
    provisional: float = 0.0
    answered: float = 0.0
    ended: float = 0.0
    events: list[str] = field(default_factory=list)
    first: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)


@dataclass
class Federated:
    """Nodes in one federation: the asking one has a process of its own, the ``others`` share some."""

    market: Market
    homes: Homes
    asking: Nodes
    others: list[Nodes]
    session: aiohttp.ClientSession

    async def search(self, query: Query, *, limit: int = 10, privacy: str = "rkme", deadline_ms: int = 2000) -> Seen:
        """Search by specification at the asking node, streamed."""
        body = {
            "specifications": [{"island": island.id, "rkme": _body(rkme)} for island, rkme in query],
            "limit": limit,
            "privacy": privacy,
            "deadline_ms": deadline_ms,
        }
        encoded = json.dumps(body).encode()
        seen, began = Seen(), perf_counter()
        url = f"{self.asking.told[0]['url']}/api/v1/searches"
        async with self.session.post(url, data=encoded) as response:
            if response.status != 200:
                raise RuntimeError(await response.text())
            async for line in response.content:
                self._note(seen, json.loads(line), perf_counter() - began)
        return seen

    @staticmethod
    def _note(seen: Seen, event: dict[str, Any], now: float) -> None:
        name = event["event"]
        if name == "error":
            raise RuntimeError(str(event["data"]))
        seen.events.append(name)
        if name == "plan":
            seen.plan = now
        elif name == "hit":
            seen.provisional = now
        elif name in ("answer", "correction") and not seen.first:
            seen.first, seen.answered = event["data"], now
        elif name == "end":
            seen.result, seen.ended = event["data"], now

    async def ready(self, query: Query) -> Seen:
        """The first search that all owners answer: until then some take in what they hold. Returns the first."""
        first = seen = await self.search(query, deadline_ms=20_000)
        for _ in range(PREPARING):
            if seen.result["complete"]:
                return first
            await asyncio.sleep(1.0)
            seen = await self.search(query, deadline_ms=20_000)
        raise RuntimeError(f"owners are not ready: {seen.result['peers_failed']}")

    async def everywhere(self, do: str, **more: object) -> list[dict[str, Any]]:
        """The answers of all processes, the asking node's first."""
        return [await nodes.obey(do, **more) for nodes in (self.asking, *self.others)]


@asynccontextmanager
async def federated(market: Market, groups: Sequence[Sequence[int]]) -> AsyncIterator[Federated]:
    """Nodes of a market, connected; the first asks, of the others each group shares a process."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        homes = await asyncio.to_thread(make_homes, Path(folder), market)
        asking = await stack.enter_async_context(started(homes.paths[:1]))
        others = [await stack.enter_async_context(started([homes.paths[n] for n in group])) for group in groups]
        headers = {
            "Authorization": f"Bearer {homes.token}",
            "Content-Type": "application/json",
            "Accept": "application/x-ndjson",
        }
        session = await stack.enter_async_context(aiohttp.ClientSession(headers=headers, read_bufsize=1 << 24))
        await asking.obey("dial", addresses=[each["address"] for nodes in others for each in nodes.told])
        await asking.obey("wait", peers=sum(map(len, groups)))
        yield Federated(market, homes, asking, others, session)


def _body(rkme: Rkme) -> dict[str, object]:
    points, weights = rkme.points.tolist(), rkme.weights.tolist()
    return {"points": points, "weights": weights, "gamma": rkme.gamma, "count": rkme.count}
