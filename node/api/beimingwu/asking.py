"""A statistical specification of Beimingwu's as a question to the federation: in which islands, and as what there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from atoll.engine.beimingwu.legacy import named_island
from atoll.engine.beimingwu.specifications import Given
from atoll.engine.errors import DimensionMismatch
from atoll.engine.islands import Island
from atoll.engine.specs.moving import moved, reachable
from atoll.engine.specs.rkme import Rkme
from atoll.node.search.islands import ALIKE
from atoll.node.search.plan import SEEN
from atoll.node.search.query import MAX_ISLANDS, SpecificationQuery


def specifications(
    given: Given, names: Sequence[str], known: Sequence[Island], listed: Callable[[bytes], int]
) -> tuple[SpecificationQuery, ...]:
    """The specification in its own island and, moved there, in those of ``known`` that have the same features: by
    ``names``, where the user tells what every dimension is, never by place alone. ``listed`` says how many owners list
    in an island: what nobody lists in is left out. At most MAX_ISLANDS, the most used first."""
    sources = [given]
    if names and given.island.kind == "table":
        sources.append(_by_name(given, names))
    own = given.island.digest
    told = [SpecificationQuery(own, given.rkme)] if own in {each.digest for each in known} else []
    from_ = {target.digest: (source, target) for source in sources[::-1] for target in _alike(source.island, known)}
    for digest in sorted(from_.keys() - {own}, key=lambda digest: (-listed(digest), digest)):
        source, target = from_[digest]
        if len(told) == MAX_ISLANDS or not listed(digest):
            break
        there = SpecificationQuery(digest, moved(source.rkme, source.island, target))
        if there.norm2 < SEEN:  # else its units are so coarse, or its kernel so wide, that it tells nothing apart
            told.append(there)
    return tuple(told)


def _alike(source: Island, known: Sequence[Island]) -> list[Island]:
    """The source itself too, if it is known."""
    return [*(each for each in known if each.digest == source.digest), *reachable(source, known)[:ALIKE]]


def _by_name(given: Given, names: Sequence[str]) -> Given:
    """In raw columns with these names, which an island sorts."""
    rkme = given.rkme
    if len(names) != rkme.dimension:
        raise DimensionMismatch(
            f"Input describes {len(names)} dimensions, the statistical specification has {rkme.dimension}"
        )
    points = rkme.points[:, np.argsort(np.array(names, dtype=object), kind="stable")]
    return Given(named_island(names, rkme.gamma), Rkme(points, rkme.weights, rkme.gamma, rkme.count), given.original)
