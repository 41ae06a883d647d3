"""A statistical specification of Beimingwu's as a question to the federation: in which islands, and as what there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from atoll.engine.beimingwu.legacy import named_island
from atoll.engine.beimingwu.specifications import Given
from atoll.engine.errors import DimensionMismatch
from atoll.engine.islands import Island
from atoll.engine.specs.rkme import Rkme
from atoll.node.search.fitting import Fitted, elsewhere
from atoll.node.search.plan import SEEN
from atoll.node.search.query import MAX_ISLANDS, SpecificationQuery


def specifications(
    given: Given, names: Sequence[str], known: Sequence[Island], listed: Callable[[bytes], int]
) -> tuple[SpecificationQuery, ...]:
    """The specification in its own island and, moved there, in those of ``known`` that have the same features: by
    ``names``, where the user tells what every dimension is, never by place alone. ``listed`` says how many owners list
    in an island: what nobody lists in is left out. At most MAX_ISLANDS, the most used first."""
    sources = [Fitted(given.island, given.rkme)]
    if names and given.island.kind == "table":
        sources.append(_by_name(given, names))
    found = {each.island.digest: each.given for each in elsewhere(sources, known)}
    asked = {island: SpecificationQuery(island, there) for island, there in found.items()}
    told = [each for each in asked.values() if listed(each.island) and each.norm2 < SEEN]
    own = given.island.digest
    here = [SpecificationQuery(own, given.rkme)] if own in {each.digest for each in known} else []
    told.sort(key=lambda each: (-listed(each.island), each.island))
    return tuple((here + told)[:MAX_ISLANDS])


def _by_name(given: Given, names: Sequence[str]) -> Fitted:
    """In raw columns with these names, which an island sorts."""
    rkme = given.rkme
    if len(names) != rkme.dimension:
        raise DimensionMismatch(
            f"Input describes {len(names)} dimensions, the statistical specification has {rkme.dimension}"
        )
    points = rkme.points[:, np.argsort(np.array(names, dtype=object), kind="stable")]
    return Fitted(named_island(names, rkme.gamma), Rkme(points, rkme.weights, rkme.gamma, rkme.count))
