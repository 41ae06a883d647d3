"""Poisoned specifications against a search: who takes the first places, and whom that costs them.

    export OMP_NUM_THREADS=1
    python attackers.py [--users N] [--json]

1000 honest learnwares of 30 owners, in families of ten near neighbours, some of one distribution, and the attackers of
``tests/attacks/specifications.py``, who come later, each under fresh keys. Figures without a target are limits: whoever
waits for a month, or is let in by an administrator, and lists what could be an honest specification, is taken for one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from time import process_time
from typing import Any

import numpy as np
from atoll.engine.matching import Specifications, faces, neighbourhoods
from atoll.node.search.merge import fold, hits
from atoll.node.search.plan import plan, rank
from atoll.node.search.query import SearchQuery, SpecificationQuery
from search_figures import Figure

sys.path.append(str(Path(__file__).parents[2] / "tests"))
from attacks.specifications import (
    Attack,
    Node,
    World,
    barycentres,
    clones,
    disclosed_barycentres,
    disclosed_clones,
    nulls,
    scattered_barycentres,
    world,
)
from attacks.specifications import (
    measured as searched,
)

LEARNWARES, USERS, MANY = 1000, 200, 10_000
TAKEN, LOST = 0.01, 0.01
SLICE = LEARNWARES // 20


@dataclass(frozen=True)
class Case:
    name: str
    plant: Attack
    count: int = SLICE
    judged: bool = True
    circumstances: dict[str, Any] = field(default_factory=dict)


VETTED, FRESH = {"vetted": True}, {"fresh": True}
CASES = (
    Case("barycentres", barycentres, circumstances=VETTED),
    Case("barycentres, no copies", scattered_barycentres, circumstances=VETTED),
    Case("barycentres with RKMEs", disclosed_barycentres, circumstances=VETTED),
    Case("null sketches, noise", nulls, circumstances=VETTED),
    Case("copies", clones(0.0), circumstances=VETTED),
    Case("copies of disclosed RKMEs", disclosed_clones, circumstances=VETTED),
    Case("200 keys copy 40 popular ones", clones(0.0, 40), 200, circumstances=VETTED),
    Case("200 keys, rounding off", clones(2e-5, 40), 200),
    Case("200 new keys, 0.001 off", clones(1e-3, 40), 200),
    Case("200 new keys, 0.001 off, liars", clones(1e-3, 40), 200, circumstances={"lie": 0.15}),
    Case("200 keys, all seen at once", clones(0.0, 40), 200, circumstances=FRESH),
    Case("0.001 off, all seen at once", clones(1e-3), judged=False, circumstances=FRESH),
    Case("0.001 off, a month later", clones(1e-3), judged=False, circumstances=VETTED),
    Case("0.005 off, a month later", clones(5e-3), judged=False, circumstances=VETTED),
)  # fmt: skip


async def measured(users: int = USERS) -> list[Figure]:
    market = world(LEARNWARES, users)
    random = np.random.default_rng(7)
    honest = await searched(market, [], Node(market))
    figures = [
        Figure("no attackers: recall@5 of the exact ranking", honest.recall, "", 1.0, least=True),
        *_folded(market),
    ]
    for case in CASES:
        planted = case.plant(market, case.count, random)
        found = await searched(market, planted, Node(market, planted, **case.circumstances))
        lost = honest.recall - found.recall
        figures.append(Figure(f"{case.name}: top-5 places taken", found.taken, "", TAKEN if case.judged else None))
        figures.append(Figure(f"{case.name}: honest recall@5 lost", lost, "", LOST if case.judged else None))
    owners = sorted({each.listing.owner for each in market.honest})[:2]
    newcomers = [each for each in market.honest if each.listing.owner in owners]
    found = await searched(market, [], Node(market, newcomers))
    share = len(newcomers) / LEARNWARES
    figures.append(Figure(f"{share:.0%} of the honest are newcomers: recall@5 lost", honest.recall - found.recall))
    return [*figures, *_costs(market)]


def _folded(market: World) -> list[Figure]:
    """Honest learnwares that are taken for copies; most have neighbours, every fourth one of its own distribution."""
    rows = [(each.listing, each.summary) for each in market.honest]
    standings = Node(market).searcher._sketches._standings
    standings.of(market.island.digest, rows, 0)
    standings.wait()
    standing = standings.of(market.island.digest, rows, 0)
    copies = float((standing.face != np.arange(len(rows))).mean())
    return [
        Figure("honest learnwares taken for copies", copies, "", 0.002),
        Figure("honest learnwares taken for hubs, or odd", float((standing.hub | standing.odd).mean()), "", 0.002),
    ]


def _costs(market: World) -> list[Figure]:
    """CPU time, one thread."""
    random, base = np.random.default_rng(8), market.sketches
    rows = (base[np.arange(MANY) % len(base)] + 0.003 * random.normal(size=(MANY, 512))).astype(np.float32)
    numbers, started = np.arange(MANY), process_time()
    face = faces(
        Specifications(rows, np.full(MANY, 0.4), np.full(MANY, 512.0), np.zeros(MANY), numbers, numbers + MANY)
    )
    neighbourhoods(rows[face == numbers], 0).hubs(rows, np.zeros(MANY))
    judged = process_time() - started
    sketches, taken = Node(market).searcher._sketches, []
    for user in market.users[:20]:
        query = SearchQuery((SpecificationQuery(market.island.digest, user),), user="somebody")
        candidates = plan(query, [market.island], list, sketches, 0).candidates
        started = process_time()
        ranked = rank(candidates)
        ranking = process_time() - started
        started = process_time()
        hits(fold(rank(candidates), candidates), {}, {market.island.digest: user.norm2}, str, lambda _: None, 10)
        taken.append(process_time() - started - ranking)
    return [
        Figure(f"{MANY} listings judged whole", judged, "s", 2.0),
        Figure(f"folding and order of {len(ranked)} candidates", 1000 * mean(taken), "ms", 10.0),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=USERS, help="that search after each attack")
    parser.add_argument("--json", action="store_true", help="one line of JSON for every figure")
    asked = parser.parse_args()
    figures = asyncio.run(measured(asked.users))
    for figure in figures:
        print(json.dumps(figure.plain()) if asked.json else figure, flush=True)
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
