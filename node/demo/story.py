"""The demo: three institutions federate, publish, and serve three users who all ask one node.

Uses what people use: ``atoll init``, ``atoll serve``, and the HTTP client. Everything lives in a temporary folder
that is removed at the end, whatever happens.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
from atoll.engine.islands import Island
from atoll.node.clock import now_ms
from atoll.node.demo.market import Market, User, build, packed
from atoll.node.demo.processes import Institution, institution
from atoll.node.demo.report import (
    Accuracy,
    HitReport,
    MemberReport,
    MixtureReport,
    NodeReport,
    OtherUser,
    Report,
    ReuseReport,
    SearchReport,
)  # fmt: skip
from atoll.node.demo.telling import Quiet
from atoll.node.errors import Partial
from atoll.node.search.query import SearchResult

CONVERGE_SECONDS = 30.0
POLL_SECONDS = 0.1


async def run(story: Quiet, *, keep: bool = False) -> Report:
    """Play the whole story; returns the figures."""
    with tempfile.TemporaryDirectory(prefix="atoll-demo-") as folder:
        async with AsyncExitStack() as stack:
            task = asyncio.current_task()
            assert task is not None
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)
            with story.step("Starting three nodes and training their models"):
                market, nodes = await _start(Path(folder), stack)
            with story.step("Founding a private federation; the others join by invite"):
                federation = await _federate(nodes)
            with story.step("Packing and publishing learnwares"):
                await _publish(market, nodes, federation)
            with story.step("Waiting until every catalogue holds every listing"):
                await _converged(nodes, sum(map(len, market.institutions.values())))
            report = await _users(market, nodes, story)
            story.finish(report)
            if keep:
                await _stay(nodes, story)
            return report


async def _start(folder: Path, stack: AsyncExitStack) -> tuple[Market, list[Institution]]:
    names = ("North University", "Harbour Clinic", "South Post")
    contexts = [institution(name, folder / name.replace(" ", "-")) for name in names]
    training = asyncio.ensure_future(asyncio.to_thread(build))
    nodes = await asyncio.gather(*(stack.enter_async_context(context) for context in contexts))
    return await training, list(nodes)


async def _federate(nodes: list[Institution]) -> str:
    admin, *others = nodes
    federation = (await admin.client.create_federation("Demo federation")).id
    for other in others:
        await other.client.join((await admin.client.invite(federation)).invite)
    return federation


async def _publish(market: Market, nodes: list[Institution], federation: str) -> None:
    """The first owner of a kind of data mints its island; whoever comes later adopts it from the catalogue."""
    minted: dict[tuple[str, ...], Island] = {}
    for node in nodes:
        for product in market.institutions[node.name]:
            columns = product.rows.columns
            if columns in minted:
                await _knows_island(node, minted[columns])
                island = await node.client.adopt_island(product.rows)
            else:
                island = minted[columns] = Island.mint(product.rows)
                await node.client.add_island(island)
            package = await asyncio.to_thread(packed, product, island, node.endpoint.peer_id, now_ms())
            learnware = await node.client.add_learnware(package, product.labelled)
            await node.client.publish(learnware.learnware_id, federation, product.offers)


async def _knows_island(node: Institution, island: Island) -> None:
    async with asyncio.timeout(CONVERGE_SECONDS):
        while island.id not in {known.id for known in await node.client.islands()}:
            await asyncio.sleep(POLL_SECONDS)


async def _converged(nodes: list[Institution], listings: int) -> None:
    try:
        async with asyncio.timeout(CONVERGE_SECONDS):
            for node in nodes:
                while len(await node.client.catalogue()) < listings:
                    await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise Partial("the catalogues did not become equal in time") from None


async def _users(market: Market, nodes: list[Institution], story: Quiet) -> Report:
    asked = nodes[0]
    catalogue = await asked.client.catalogue()
    story.table(
        "Who owns what, as every node knows it", ["learnware", "owner", "predict", "download"],
        [(each.name, each.owner_name, each.offers.predict, each.offers.download) for each in catalogue],
    )  # fmt: skip
    first, *rest = market.users
    result = await asked.client.search_rows(first.rows)
    story.search(first.name, result)
    reuse = await _reuse(market, asked, first, result)
    story.reuse(reuse)
    others = tuple([await _other(asked, user, story) for user in rest])
    return Report(await _node_reports(nodes), _search_report(result), reuse, others)


async def _node_reports(nodes: list[Institution]) -> tuple[NodeReport, ...]:
    counts = [len(await node.client.learnwares()) for node in nodes]
    return tuple(
        NodeReport(node.endpoint.peer_id, node.endpoint.url, count) for node, count in zip(nodes, counts, strict=True)
    )


async def _reuse(market: Market, asked: Institution, user: User, result: SearchResult) -> ReuseReport:
    answer = await asked.client.predict(result.search_id, user.rows, send=True)
    singles = [product.accuracy(user.rows.values, user.labels) for product in market.digits]
    accuracy = Accuracy(_accuracy(answer.labels, user), max(singles), float(np.mean(singles)))
    return ReuseReport(accuracy, answer.rows_local, answer.rows_remote)


async def _other(asked: Institution, user: User, story: Quiet) -> OtherUser:
    result = await asked.client.search_rows(user.rows)
    story.search(user.name, result)
    uncovered = result.mixture.uncovered if result.mixture else 1.0
    if result.mixture is None or not result.mixture.served:
        return OtherUser(user.name, None, None, uncovered)
    answer = await asked.client.predict(result.search_id, user.rows, send=True)
    accuracy = _accuracy(answer.labels, user)
    story.say(f"Accuracy: {accuracy:.3f}")
    return OtherUser(user.name, " + ".join(member.name for member in result.mixture.members), accuracy, uncovered)


def _accuracy(labels: tuple[str, ...], user: User) -> float:
    return float(np.mean(np.array(labels).astype(int) == user.labels))


def _search_report(result: SearchResult) -> SearchReport:
    hits = tuple(
        HitReport(hit.learnware_id, hit.owner, hit.name, hit.similarity, hit.mmd2, hit.estimated) for hit in result.hits
    )
    found = result.mixture
    members = tuple(MemberReport(each.learnware_id, each.owner, each.weight) for each in found.members) if found else ()
    mixture = MixtureReport(members, found.mmd2 if found else 0.0, found.uncovered if found else 1.0)
    return SearchReport(hits, mixture, result.peers_asked, result.peers_answered, result.complete, result.elapsed_ms)


async def _stay(nodes: list[Institution], story: Quiet) -> None:
    """Say how to reach the nodes and wait for Ctrl-C."""
    story.aside("\nThe nodes are running; Ctrl-C ends them.")
    for node in nodes:
        story.aside(f"{node.name}: {node.endpoint.url}  token {node.token}  pid {node.process.pid}")
    story.aside(f"Try: ATOLL_URL={nodes[0].endpoint.url} ATOLL_TOKEN={nodes[0].token} atoll search digits")
    await asyncio.Event().wait()
