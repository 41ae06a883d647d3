"""How fast a search is: 10 nodes of 1 000 learnwares each on loopback, the asking one in a process of its own."""

from __future__ import annotations

import asyncio
import os

import numpy as np
import search_package
from search_asking import Federated, federated
from search_figures import Figure
from search_market import Market

NODES, LEARNWARES, POINTS = 10, 10_000, 50
SEARCHES, WARM = 60, 10
HIDDEN = 0.05  # share of RKMEs that stay at their owner
LONGEST = 50.0  # milliseconds of CPU


async def measured() -> list[Figure]:
    market = Market(NODES, LEARNWARES, points=(POINTS, POINTS), hidden=HIDDEN)
    async with federated(market, [range(1, 6), range(6, NODES)]) as nodes:
        figures = await _searches(nodes)
    return [*figures, *await asyncio.to_thread(search_package.measured, market)]


async def _searches(nodes: Federated) -> list[Figure]:
    queries = nodes.market.queries(SEARCHES + WARM)
    first = await nodes.ready(queries[0])
    for query in queries[:WARM]:
        await nodes.search(query)
    load = os.getloadavg()[0]
    before = await nodes.everywhere("reset") and await nodes.everywhere("stats")
    seen = [await nodes.search(query) for query in queries[WARM:]]
    after = await nodes.everywhere("stats")
    loops = [max((spent for spent, _ in each["longest"]), default=0.0) for each in after]
    worst = max((tuple(each) for stats in after for each in stats["longest"]), default=(0.0, ""))
    cpu = [1000 * (b["cpu"] - a["cpu"]) / SEARCHES for a, b in zip(before, after, strict=True)]
    provisional, whole = ([1000 * getattr(each, what) for each in seen] for what in ("provisional", "ended"))
    complete = sum(each.result["complete"] for each in seen)
    return [
        Figure("processes that wanted a core before (load average)", load),
        Figure("first search after the start: provisional answer", 1000 * first.provisional, "ms"),
        Figure("provisional answer, p50", float(np.median(provisional)), "ms", 100.0),
        Figure("provisional answer, p95", float(np.percentile(provisional, 95)), "ms"),
        Figure("complete answer, p50", float(np.median(whole)), "ms"),
        Figure("complete answer, p95", float(np.percentile(whole, 95)), "ms", 1000.0),
        Figure("searches that all owners answered", complete / SEARCHES, "", 1.0, least=True),
        Figure("longest callback of the asking loop, CPU", loops[0], "ms", LONGEST),
        Figure("longest callback of any loop, CPU", worst[0], "ms", LONGEST, note=worst[1]),
        Figure("CPU of a search at the asking node", cpu[0], "ms"),
        Figure("CPU of a search at the nine owners", sum(cpu[1:]), "ms"),
    ]
