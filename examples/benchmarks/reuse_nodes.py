"""A market on five real nodes: processes made with ``atoll init`` and run with ``atoll serve``, each learnware
published at one of them; the users ask the first.

Everything is listed in two private federations: in one the specifications are disclosed to members, in the other
nothing is but the sketch. Every second learnware is offered for download, the others predict at their owner.
"""

from __future__ import annotations

import asyncio
import io
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from atoll.engine.errors import PrivacyRefusal
from atoll.engine.islands import Island
from atoll.engine.packages.convert import from_estimator
from atoll.engine.packages.pack import pack
from atoll.engine.semantic import SemanticSpec
from atoll.node.client import AsyncClient
from atoll.node.clock import now_ms
from atoll.node.demo.processes import Institution, institution
from atoll.node.search.query import Filters, SearchResult
from atoll.protocol.listings import Offers
from reuse_market import Learnware, Market, User

NAMES = ("North University", "Harbour Clinic", "South Post", "East Archive", "West Laboratory")
DISCLOSED = (Offers(disclose="members", download="members"), Offers(disclose="members", predict="members"))
HIDDEN = (Offers(download="members"), Offers(predict="members"))
SETTINGS = {"ATOLL__SANDBOX__MAX_MODELS": "16"}
POINTS = (100, 60, 30, 15)
CONVERGE_SECONDS = 120.0
DEADLINE_MS = 20_000


@dataclass(frozen=True)
class Federated:
    """``ids`` (hex) are those of the market's learnwares, ``disclosed`` and ``hidden`` the two federations."""

    nodes: tuple[Institution, ...]
    ids: tuple[str, ...]
    disclosed: str
    hidden: str

    @property
    def asked(self) -> AsyncClient:
        return self.nodes[0].client

    async def search(self, market: Market, user: User, federation: str) -> SearchResult:
        """By the user's rows, among the learnwares that may serve the user."""
        usable = tuple(self.ids[place] for place in market.others(user))
        filters = Filters(federation=(federation,), learnware_id=usable)
        return await self.asked.search_rows(user.rows, filters=filters, deadline_ms=DEADLINE_MS)


@asynccontextmanager
async def federated(market: Market) -> AsyncIterator[Federated]:
    """The nodes, once all of them know everything."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="atoll-reuse-")))
        homes = [institution(name, folder / name.replace(" ", "-"), settings=SETTINGS) for name in NAMES]
        nodes = await asyncio.gather(*(stack.enter_async_context(home) for home in homes))
        disclosed, hidden = [await _federation(nodes, name) for name in ("disclosed", "hidden")]
        island = Island.mint(market.learnwares[0].rows)
        for node in nodes:
            await node.client.add_island(island)
        ids: dict[int, str] = {}
        async with asyncio.TaskGroup() as group:
            for number, node in enumerate(nodes):
                group.create_task(_publish(market, range(number, len(market.learnwares), len(nodes)), node, island,
                                           (disclosed, hidden), ids))  # fmt: skip
        await converged(nodes, 2 * len(market.learnwares))
        yield Federated(tuple(nodes), tuple(ids[place] for place in range(len(ids))), disclosed, hidden)


async def converged(nodes: list[Institution], listings: int) -> None:
    """Until every catalogue holds so many listings."""
    async with asyncio.timeout(CONVERGE_SECONDS):
        for node in nodes:
            while len(await node.client.catalogue()) < listings:
                await asyncio.sleep(0.2)  # other processes: there is no event to wait for


async def _federation(nodes: list[Institution], name: str) -> str:
    founder, *others = nodes
    federation = (await founder.client.create_federation(name)).id
    for node in others:
        await node.client.join((await founder.client.invite(federation)).invite)
    return federation


async def _publish(
    market: Market, places: range, node: Institution, island: Island, federations: tuple[str, str], ids: dict[int, str]
) -> None:
    for place in places:
        package = await asyncio.to_thread(packed, market.learnwares[place], island, node.endpoint.peer_id)
        added = await node.client.add_learnware(package)
        ids[place] = added.learnware_id
        turn = place // len(NAMES) % 2
        for federation, offers in zip(federations, (DISCLOSED, HIDDEN), strict=True):
            await node.client.publish(added.learnware_id, federation, offers[turn])


def packed(learnware: Learnware, island: Island, owner: str) -> bytes:
    """A package as `atoll learnware pack` makes it, with the specification of the rows trained on; where the privacy
    gate refuses it, with fewer points, as it advises."""
    told = from_estimator(learnware.model, learnware.rows)
    for points in POINTS:
        target = io.BytesIO()
        with suppress(PrivacyRefusal):
            pack(
                target, told.data, learnware.rows, island, SemanticSpec(learnware.name, "Of the benchmark of reuse."),
                told.signature, owner=owner, created_at=now_ms(), salt=secrets.token_bytes(16),
                class_names=told.class_names, model_format=told.format, model_path=told.file_name, size=points,
            )  # fmt: skip
            return target.getvalue()
    raise PrivacyRefusal(f"{learnware.name}: no specification of {POINTS[-1]} points keeps the privacy gate")
