"""Ten real nodes in processes: how fast a listing is everywhere, with gossip and without; joining a large catalogue.

python replication.py [--nodes 10] [--listings 100] [--without 20] [--join 10000]
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic, perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")

import catalogue
import numpy as np
from atoll.engine.islands import Island
from atoll.engine.packages.convert import to_onnx
from atoll.engine.packages.pack import pack
from atoll.engine.runtime import Signature
from atoll.engine.semantic import SemanticSpec
from atoll.engine.tables import Table
from atoll.node.clock import now_ms
from atoll.node.demo.processes import Institution, institution, make_home
from atoll.protocol.listings import Offers
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

POLL = 0.02


async def founded(stack: AsyncExitStack, folder: Path, count: int, settings: dict[str, str]):
    """``count`` nodes in one federation, all connected by what the first tells them."""
    nodes = await asyncio.gather(
        *(stack.enter_async_context(institution(f"n{k}", folder / f"n{k}", settings=settings)) for k in range(count))
    )
    federation = (await nodes[0].client.create_federation("measured")).id
    for node in nodes[1:]:
        await node.client.join((await nodes[0].client.invite(federation)).invite)
    return nodes, federation


async def learnware(node: Institution) -> str:
    rows, labels = load_iris(return_X_y=True)
    table = Table(rows, ("a", "b", "c", "d"))
    island = Island.mint(table)
    await node.client.add_island(island)
    model = to_onnx(LogisticRegression(max_iter=1000).fit(rows, labels), 4)
    package = io.BytesIO()
    pack(
        package, model, table, island, SemanticSpec("iris"), Signature("classification", 4, 3),
        owner=node.endpoint.peer_id, created_at=now_ms(), salt=os.urandom(16), class_names=("a", "b", "c"), size=20,
    )  # fmt: skip
    return (await node.client.add_learnware(package.getvalue())).learnware_id


async def everywhere(nodes, federation: str, root: str, most: float = 120.0) -> float:
    """Seconds until every node shows this root."""
    started = monotonic()
    waiting = list(nodes)
    async with asyncio.timeout(most):
        while waiting:
            roots = await asyncio.gather(*(node.client.catalogue_root(federation) for node in waiting))
            waiting = [node for node, found in zip(waiting, roots, strict=True) if found.root != root]
            await asyncio.sleep(POLL)
    return monotonic() - started


async def publications(count: int, nodes: int, settings: dict[str, str]) -> list[float]:
    """Seconds from the acknowledgement of each change of one listing until all others show it."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            running, federation = await founded(stack, Path(folder), nodes, settings)
            ids = {node.name: await learnware(node) for node in running[:3]}
            for number in range(count):
                node = running[number % 3]
                offers = Offers(predict="members" if number // 3 % 2 else "nobody")
                await node.client.publish(ids[node.name], federation, offers)
                started = perf_counter()
                root = (await node.client.catalogue_root(federation)).root
                await everywhere([each for each in running if each is not node], federation, root)
                seconds.append(perf_counter() - started)
    return seconds


async def joining(listings: int) -> float:
    """Seconds from the join until a newcomer shows the same root over ``listings`` listings."""
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            home = Path(folder, "full")
            token = await make_home("full", home)
            federation = await asyncio.to_thread(catalogue.fill, home, listings, now_ms() - 60_000)
            full = await stack.enter_async_context(institution("full", home, token=token))
            newcomer = await stack.enter_async_context(institution("newcomer", Path(folder, "new")))
            root = await full.client.catalogue_root(federation)
            assert root.listings == listings
            invite = (await full.client.invite(federation)).invite
            started = perf_counter()
            await newcomer.client.join(invite)
            await everywhere([newcomer], federation, root.root)
            return perf_counter() - started


def told(name: str, seconds: list[float]) -> None:
    p50, p95, most = np.percentile(seconds, [50, 95, 100])
    print(f"{name:46} {len(seconds):4} times   p50 {p50:6.2f} s   p95 {p95:6.2f} s   at most {most:6.2f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=10)
    parser.add_argument("--listings", type=int, default=100)
    parser.add_argument("--without", type=int, default=20)
    parser.add_argument("--join", type=int, default=10_000)
    asked = parser.parse_args()
    if asked.listings:
        told("a listing on all other nodes", asyncio.run(publications(asked.listings, asked.nodes, {})))
    if asked.without:
        cut = asyncio.run(publications(asked.without, asked.nodes, {"ATOLL__P2P__GOSSIP": "false"}))
        told("the same with gossip cut off", cut)
    if asked.join:
        print(f"joining a federation of {asked.join} listings            {asyncio.run(joining(asked.join)):8.2f} s")


if __name__ == "__main__":
    main()
