"""Whether search over owners finds what one central node would that holds all: ranking, mixture, what is claimed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from search_asking import Federated, Query, Seen, federated
from search_figures import Figure
from search_market import Central, Market, Place

NODES, LEARNWARES = 8, 500
QUERIES, FEWER = 200, 100
DEADLINE_MS = 20_000  # nobody is late here, however busy the machine
PLACES, SHORT = 100, 10  # all that a search can show (5 of each owner), and what it shows if nothing else is asked for
TIE = 1e-9


@dataclass
class Differences:
    """Between searches and central ones; ``orders`` that differ beyond ties, the largest differences of the rest."""

    orders: int = 0
    distance: float = 0.0
    mixture: float = 0.0
    weight: float = 0.0
    claims: int = 0
    wrong: int = 0
    whole: int = 0
    representations: set[str] = field(default_factory=set)

    def note(self, seen: Seen, central: Central) -> None:
        result = seen.result
        found = named(result)
        same = ordered_alike(found, central.ranking)
        self.orders += not same
        self.whole += result["complete"]
        self.claims += result["topk_exact"]
        self.wrong += result["topk_exact"] and not same
        if same:
            true = {place.id: place.mmd2 for place in central.ranking}
            self.distance = max(
                self.distance, *(abs(hit["mmd2"] - true[hit["learnware_id"]]) for hit in result["hits"])
            )
        mixture = result["mixture"]
        self.representations.add(mixture["representation"])
        weights = {member["learnware_id"]: member["weight"] for member in mixture["members"]}
        self.mixture = max(self.mixture, abs(mixture["mmd2"] - central.mixture.mmd2))
        members = weights.keys() | central.weights.keys()
        apart = (abs(weights.get(id_, 0.0) - central.weights.get(id_, 0.0)) for id_ in members)
        self.weight = max(self.weight, *apart)


def named(result: dict[str, Any]) -> list[str]:
    """The ids of what was found, in its order."""
    return [hit["learnware_id"] for hit in result["hits"]]


def ordered_alike(found: list[str], central: list[Place]) -> bool:
    """Whether two rankings name the same, in the same order but for ties."""
    if len(found) != len(central):
        return False
    ranks = {place.id: place.rank for place in central}
    places = zip(found, central, strict=True)
    return all(id_ in ranks and abs(ranks[id_] - place.rank) <= TIE for id_, place in places)


async def measured() -> list[Figure]:
    one, two = Market(NODES, LEARNWARES), Market(NODES, LEARNWARES, islands=2)
    async with federated(one, [range(1, NODES)]) as nodes:
        all_places = await compared(nodes, one.queries(QUERIES), PLACES)
        ten = await compared(nodes, one.queries(FEWER, seed=2), SHORT)
    async with federated(two, [range(1, NODES)]) as nodes:
        islands = await compared(nodes, two.queries(FEWER), PLACES)
    return [
        *_figures(all_places, "one island, all places", QUERIES),
        *_figures(ten, "one island, ten places", FEWER),
        Figure("one island, ten places: searches called certain", ten.claims, "", FEWER / 2, least=True),
        *_figures(islands, "two islands, all places", FEWER),
    ]


async def compared(nodes: Federated, queries: list[Query], places: int) -> Differences:
    """Each query searched for and answered centrally."""
    await nodes.ready(queries[0])
    found = Differences()
    for query in queries:
        central = nodes.market.central(query, places)
        found.note(await nodes.search(query, limit=places, deadline_ms=DEADLINE_MS), central)
    return found


def _figures(found: Differences, name: str, queries: int) -> list[Figure]:
    told = ", ".join(sorted(found.representations))
    return [
        Figure(f"{name}: searches that all owners answered", found.whole, "", queries, least=True),
        Figure(f"{name}: orders that differ from one central node's", found.orders, "", 0),
        Figure(f"{name}: MMD^2 of hits, largest difference", found.distance, "", TIE),
        Figure(f"{name}: MMD^2 of the mixture, largest difference", found.mixture, "", 1e-8, note=told),
        Figure(f"{name}: weights of the mixture, largest difference", found.weight, "", 1e-4),
        Figure(f"{name}: called certain and wrong", found.wrong, "", 0, note=f"{found.claims} called so"),
    ]
