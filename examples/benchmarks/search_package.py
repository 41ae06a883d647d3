"""The reference package's own search, exact and for a mixture, over the learnwares that the nodes hold together."""

from __future__ import annotations

import sys

import numpy as np
from reference import package
from search_figures import Figure
from search_market import Market

SEARCHES, PLACES = 3, 10
AT_MOST = 200.0  # seconds


def measured(market: Market) -> list[Figure]:
    """What it takes and finds, beside what one node of ours would find; nothing where it is not there."""
    island = market.places[0]
    asked = [query[0][1] for query in market.queries(SEARCHES)]
    held = {"points": _stacked(market, "points"), "weights": _stacked(market, "weights"), "gamma": island.gamma}
    first = {"query_points": asked[0].points, "query_weights": asked[0].weights, "repeats": SEARCHES}
    single = package(None, "single_search", at_most=AT_MOST, **held, **first)
    if single is None:
        print("the reference package is not measured: name its interpreter by --package-python", file=sys.stderr)
        return []
    found = np.array([each.points for each in asked]), np.array([each.weights for each in asked])
    mixed = package(None, "greedy_mixture", at_most=AT_MOST, **held, query_points=found[0], query_weights=found[1])
    assert mixed is not None
    (distances,) = market.distances([(island, asked[0])])
    true = sorted(distances, key=lambda id_: (distances[id_], id_))[:PLACES]
    common = len(set(true) & {market.all[place].id.hex() for place in single["order"][:PLACES]})
    theirs, ours = [], []
    for query, members, weights in zip(asked, mixed["members"], mixed["weights"], strict=True):
        pairs = zip(members, weights, strict=True)
        blend = {market.all[member].id.hex(): float(weight) for member, weight in pairs if member >= 0}
        theirs.append(market.true_mmd2(island, query, blend))
        ours.append(market.central([(island, query)], PLACES).mixture.mmd2)
    return [
        Figure("package: CPU of an exact search", 1000 * float(np.median(single["seconds"])), "ms"),
        Figure("package: CPU of a search for a mixture", 1000 * float(np.median(mixed["seconds"])), "ms"),
        Figure("package: of its nearest ten, of ours too", common),
        Figure("package: MMD^2 of its mixture, median", float(np.median(theirs))),
        Figure("MMD^2 of ours, median", float(np.median(ours))),
    ]


def _stacked(market: Market, name: str) -> np.ndarray:
    return np.array([getattr(each.rkme, name) for each in market.all])
