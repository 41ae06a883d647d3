"""What is found where nobody discloses an RKME, where the user sends only a sketch, and where nothing is sent: the
mixture that a search finds, evaluated exactly on the RKMEs, beside the best one."""

from __future__ import annotations

import numpy as np
from search_asking import Federated, federated
from search_figures import Figure
from search_identity import LEARNWARES, NODES, PLACES, named, ordered_alike
from search_market import Market

QUERIES = 60
WITHIN = 5e-4


async def measured() -> list[Figure]:
    figures = []
    for hidden in (1.0, 0.0):
        async with federated(Market(NODES, LEARNWARES, hidden=hidden), [range(1, NODES)]) as nodes:
            await nodes.ready(nodes.market.queries(1)[0])
            for privacy in ("rkme", "sketch", "local"):
                figures += await _compared(nodes, privacy)
    return figures


async def _compared(nodes: Federated, privacy: str) -> list[Figure]:
    market, hidden = nodes.market, bool(nodes.market.hidden)
    name = f"{'nothing' if hidden else 'everything'} disclosed, {privacy}"
    await nodes.everywhere("reset")
    gaps, claimed, wrong = [], 0, 0
    for query in market.queries(QUERIES):
        central = market.central(query, PLACES)
        result = (await nodes.search(query, privacy=privacy, deadline_ms=20_000)).result
        weights = {member["learnware_id"]: member["weight"] for member in result["mixture"]["members"]}
        (island, asked) = query[0]
        gaps.append(market.true_mmd2(island, asked, weights) - central.mixture.mmd2)
        claimed += result["topk_exact"]
        found = named(result)
        wrong += result["topk_exact"] and not ordered_alike(found, central.ranking[: len(found)])
    frames = sum(sum(each["frames"].values()) for each in await nodes.everywhere("stats"))
    target = WITHIN if hidden and privacy == "rkme" else None
    return [
        Figure(f"{name}: MMD^2 of the mixture beyond the exact one's, median", float(np.median(gaps))),
        Figure(f"{name}: at most", max(gaps), "", target),
        Figure(f"{name}: match frames at owners", frames, "", 0 if privacy == "local" else None),
        Figure(f"{name}: searches called certain", claimed),
        Figure(f"{name}: of these wrong", wrong, "", 0),
    ]
