"""Three of ten owners lie, are slow, or are dead: when the answer comes, who is named, what is found of the others."""

from __future__ import annotations

import numpy as np
from search_asking import Federated, Query, Seen, federated
from search_figures import Figure
from search_identity import named, ordered_alike
from search_market import Market

NODES, LEARNWARES, SICK = 10, 500, (7, 8, 9)
WARM, LYING, AFTER = 12, 20, 5
LIES = ("small lie", "huge lie", "zero")
DEADLINE = 2000.0  # milliseconds
SETTLING = 150.0  # what merging may add to waiting


async def measured() -> list[Figure]:
    figures = []
    for hidden in (1.0, 0.0):
        market = Market(NODES, LEARNWARES, points=(30, 60), hidden=hidden)
        async with federated(market, [range(1, SICK[0]), SICK]) as nodes:
            queries = market.queries(WARM + LYING + 2 * AFTER)
            await nodes.ready(queries[0])
            usual = [1000 * (await nodes.search(query, deadline_ms=30_000)).ended for query in queries[:WARM]]
            figures += await _lying(nodes, queries[WARM : WARM + LYING])
            if not hidden:
                patience = max(200.0, 2.0 * float(np.percentile(usual, 95))) + SETTLING
                await nodes.others[1].obey("fault", kinds=dict.fromkeys(_sick(nodes), "slow"))
                figures += await _silent(nodes, queries[-2 * AFTER : -AFTER], "slow", patience)
                await nodes.others[1].kill()
                figures += await _silent(nodes, queries[-AFTER:], "dead", patience)
    return figures


def _sick(nodes: Federated) -> list[str]:
    return [nodes.homes.owners[number] for number in SICK]


async def _lying(nodes: Federated, queries: list[Query]) -> list[Figure]:
    sick, name = _sick(nodes), f"{'nothing' if nodes.market.hidden else 'everything'} disclosed, lying"
    await nodes.others[1].obey("fault", kinds=dict(zip(sick, LIES, strict=True)))
    seen = [await nodes.search(query) for query in queries]
    await nodes.others[1].obey("fault", kinds={})
    figures = []
    for peer, lie in zip(sick, LIES, strict=True):
        share = sum(peer in each.result["peers_doubted"] for each in seen) / len(seen)
        figures.append(Figure(f"{name}: searches that mark who tells a {lie}", share, "", 1.0, least=True))
    honest = set(nodes.homes.owners) - set(sick)
    doubted = sum(bool(honest & set(each.result["peers_doubted"])) for each in seen)
    figures.append(Figure(f"{name}: searches that mark somebody honest", doubted, "", 0))
    if not nodes.market.hidden:
        figures.append(Figure(f"{name}: other orders among honest owners", _disturbed(nodes, queries, seen), "", 0))
    return figures


def _disturbed(nodes: Federated, queries: list[Query], seen: list[Seen]) -> int:
    """Searches in which what honest owners have does not come in its true order."""
    healthy = {id_ for id_, each in nodes.market.by_id.items() if each.owner not in SICK}
    count = 0
    for query, each in zip(queries, seen, strict=True):
        found = [id_ for id_ in named(each.result) if id_ in healthy]
        true = [place for place in nodes.market.ranking(query, LEARNWARES) if place.id in healthy]
        count += not ordered_alike(found, true[: len(found)])
    return count


async def _silent(nodes: Federated, queries: list[Query], name: str, patience: float) -> list[Figure]:
    """The first search meets them unprepared; of those after it one an interval asks them again."""
    seen = [await nodes.search(query, deadline_ms=int(DEADLINE)) for query in queries]
    sick = set(_sick(nodes))
    told = sum(sick <= set(each.result["peers_failed"]) for each in seen)
    others = sum(len(set(each.result["peers_failed"]) - sick) for each in seen)
    wrong = 0
    for query, each in zip(queries, seen, strict=True):
        found = named(each.result)
        alike = ordered_alike(found, nodes.market.ranking(query, len(found)))
        wrong += each.result["topk_exact"] and not alike
    most = DEADLINE + SETTLING
    why = next(iter(seen[0].result["peers_failed"].values()), "")
    return [
        Figure(f"{name}: first answer of the first search", 1000 * seen[0].answered, "ms", patience),
        Figure(f"{name}: end of the first search", 1000 * seen[0].ended, "ms", most),
        Figure(
            f"{name}: first answers of those after it, at most",
            1000 * max(s.answered for s in seen[1:]),
            "ms",
            patience,
        ),
        Figure(f"{name}: ends of those after it, at most", 1000 * max(s.ended for s in seen[1:]), "ms", most),
        Figure(f"{name}: searches that name all three", told, "", len(seen), least=True, note=why[:60]),
        Figure(f"{name}: others that are named", others, "", 0),
        Figure(f"{name}: wrong claims of certainty", wrong, "", 0),
    ]
