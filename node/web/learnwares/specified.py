"""A learnware's statistical specifications as far as the visitor may know them: islands, features, pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from atoll.engine.islands import Feature, Island
from atoll.engine.specs.noised import DpParameters, NoisedSketch, Specification
from atoll.engine.specs.rkme import Rkme
from atoll.node.search.running import Running
from atoll.node.search.single import candidate_of
from atoll.node.web.learnwares.finding import Shown
from atoll.node.web.search.overlay import Cloud, drawn
from atoll.protocol.errors import NotFound
from atoll.protocol.listings import SpecSummary

if TYPE_CHECKING:
    from atoll.node.web.visit import Visit

NAMED = 200  # features that are shown
HEAVIEST = 5  # points whose weights are told
Known = Literal["own", "disclosed", "stand-in", "noised", "sketch"]


class Specified(NamedTuple):
    """In one island; ``definition`` is None while that has not come. Of ``rows`` there are at least so many where only
    the listing tells it. ``known`` is by what: then ``clouds`` are drawn, the visitor's own data first where a search
    went by them, and ``shares`` of the spread lie along the axes."""

    island: str
    definition: Island | None
    rows: int
    norm2: float
    dp: DpParameters | None
    known: Known
    points: int = 0
    weights: tuple[float, ...] = ()
    clouds: tuple[Cloud, ...] = ()
    shares: tuple[float, float] = (0.0, 0.0)

    @property
    def features(self) -> tuple[Feature, ...]:
        return self.definition.features[:NAMED] if self.definition is not None else ()

    @property
    def more(self) -> int:
        """Features that are not shown."""
        return len(self.definition.features) - len(self.features) if self.definition is not None else 0


def specified(visit: Visit, shown: Shown, running: Running | None) -> list[Specified]:
    """By island; ``running`` is a search that may know more of it. Drawing takes milliseconds: call it in a thread."""
    if shown.own is not None:
        return [_own(visit, shown, island, full, running) for island, full in sorted(shown.own.specifications.items())]
    assert shown.listing is not None  # what is not of the dock is listed
    return [_listed(visit, shown, summary, running) for summary in shown.listing.specifications]


def _own(visit: Visit, shown: Shown, island: bytes, full: Specification, running: Running | None) -> Specified:
    if isinstance(full, NoisedSketch):
        return Specified(island.hex(), _definition(visit, island), full.count, full.sketch.norm2, full.dp, "noised")
    return _drawn(visit, shown, island, full, "own", running)


def _listed(visit: Visit, shown: Shown, summary: SpecSummary, running: Running | None) -> Specified:
    found = candidate_of(running, shown.listing, summary.island) if running is not None and shown.listing else None
    if found is not None and found.rkme is not None:
        return _drawn(visit, shown, summary.island, found.rkme, "disclosed", running)
    if found is not None and found.stand_in is not None:
        return _drawn(visit, shown, summary.island, found.stand_in, "stand-in", running)
    known: Known = "sketch" if summary.dp is None else "noised"
    definition = _definition(visit, summary.island)
    return Specified(summary.island.hex(), definition, summary.count, summary.norm2, summary.dp, known)


def _drawn(visit: Visit, shown: Shown, island: bytes, rkme: Rkme, known: Known, running: Running | None) -> Specified:
    sets = [(1, shown.semantic.name, shown.owner, rkme)]
    asked = _asked(running, island)
    if asked is not None and asked.comparable(rkme):
        sets.insert(0, (0, "", "", asked))
    clouds, shares = drawn(sets)
    weights = tuple(float(each) for each in np.sort(rkme.weights)[::-1][:HEAVIEST])
    return Specified(
        island.hex(), _definition(visit, island), rkme.count, rkme.norm2, None, known, len(rkme.weights), weights,
        clouds, shares,
    )  # fmt: skip


def _asked(running: Running | None, island: bytes) -> Rkme | None:
    """The visitor's own data, where a search went by them and not by points that are nobody's."""
    if running is None or running.query.filters.learnware_id:
        return None
    return next((each.rkme for each in running.query.specifications if each.island == island), None)


def _definition(visit: Visit, island: bytes) -> Island | None:
    try:
        return visit.node.catalogue.island(island)
    except NotFound:
        return None
