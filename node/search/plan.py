"""Round 0: what the asked node can say from its own catalogue, sending nothing (network.md, section 7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from atoll.engine.islands import Island
from atoll.engine.matching import ERROR_BAND, SketchIndex
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.sketch import Sketch, sketch
from atoll.node.search.query import SearchQuery
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing, SpecSummary
from atoll.protocol.policy import Act, promised

MAX_OWNERS = 32


class Candidate(msgspec.Struct, frozen=True):
    """A listing in one of the query's islands (or none), with its distance and what that may err by: nothing once its
    owner has answered with the RKME that the listing commits to. What the user ``may`` do is what the audiences of the
    listing promise, until its owner has said. ``floor``: its owner has named others, all of them nearer than that;
    ``declined``: it has named all that it lets this user match, and not this one."""

    listing: Listing
    summary: SpecSummary | None = None
    mmd2: float = 0.0
    norm2: float = 0.0
    estimated: bool = True
    band: float = ERROR_BAND
    suspect: bool = False
    rkme: Rkme | None = None
    may: tuple[Act, ...] = ()
    floor: float = 0.0
    declined: bool = False

    @property
    def least(self) -> float:
        """The distance is no less than this."""
        return max(self.floor, self.mmd2 - self.band)

    @property
    def most(self) -> float:
        return self.mmd2 + self.band

    @property
    def id(self) -> str:
        return self.listing.learnware_id.hex()

    @property
    def owner(self) -> str:
        return peer_id(self.listing.owner)


class Plan(msgspec.Struct, frozen=True):
    """Provisional ranking, the query's own sketches, and whom to ask about which island."""

    candidates: tuple[Candidate, ...]
    sketches: dict[bytes, Sketch]
    questions: tuple[tuple[str, bytes, bytes], ...]  # (owner, federation, island)


def plan(query: SearchQuery, islands: Sequence[Island], alive: Iterable[Listing]) -> Plan:
    """Rank by sketch distance, or by words where nothing else is asked. ``islands`` are those of the query, in its
    order; ``alive`` are listings that its words and tags admit.

    A learnware listed in several federations counts once.
    """
    listings = {listing.learnware_id: listing for listing in alive}
    if not query.specifications:
        ordered = sorted(listings.values(), key=lambda each: (-query.semantic.score(each.semantic), each.learnware_id))
        return Plan(tuple(Candidate(each, may=promised(each.offers, query.user)) for each in ordered), {}, ())
    found: list[Candidate] = []
    sketches = {}
    for island, asked in zip(islands, query.specifications, strict=True):
        sketches[island.digest] = sketch(asked.rkme, island)
        found += _in_island(island, sketches[island.digest], listings.values(), query.user)
    return Plan(tuple(rank(found)), sketches, _questions(found))


def rank(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Best island of each learnware, mmd2 ascending, ties by id."""
    best: dict[str, Candidate] = {}
    for candidate in candidates:
        known = best.get(candidate.id)
        if known is None or candidate.mmd2 < known.mmd2:
            best[candidate.id] = candidate
    return sorted(best.values(), key=lambda each: (each.mmd2, each.id))


def _in_island(island: Island, asked: Sketch, listings: Iterable[Listing], user: str) -> list[Candidate]:
    summaries = {
        listing.learnware_id.hex(): (listing, spec)
        for listing in listings
        for spec in listing.specifications
        if spec.island == island.digest
    }
    index = SketchIndex({id_: spec.to_sketch() for id_, (_, spec) in summaries.items()})
    pairs = zip(index.ids, index.distances(asked), strict=True)
    return [
        Candidate(
            *summaries[id_], mmd2=float(distance), norm2=summaries[id_][1].norm2,
            may=promised(summaries[id_][0].offers, user),
        )
        for id_, distance in pairs
    ]  # fmt: skip


def _questions(candidates: list[Candidate]) -> tuple[tuple[str, bytes, bytes], ...]:
    """Owners of the nearest first, at most 32 of them, each once per federation and island."""
    ordered = sorted(candidates, key=lambda each: (each.mmd2, each.id))
    owners = list(dict.fromkeys(each.owner for each in ordered))[:MAX_OWNERS]
    asked = dict.fromkeys(
        (each.owner, each.listing.federation, each.summary.island) for each in ordered if each.summary
    )
    return tuple(question for question in asked if question[0] in owners)
