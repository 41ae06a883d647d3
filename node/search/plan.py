"""Round 0: what the asked node can say from its own catalogue, sending nothing (network.md, section 7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
from atoll.engine.islands import Island
from atoll.engine.matching import ERROR_BAND
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.sketch import Sketch, sketch
from atoll.node.search.query import SearchQuery
from atoll.node.search.sketches import CatalogueSketches, Owned, Placed
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing, SpecSummary
from atoll.protocol.policy import Act, promised
from numpy.typing import NDArray

SHORTLIST = 200  # nearest by sketch, of an island, that are looked at one by one
MAX_OWNERS = 32

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Question = tuple[str, bytes, bytes]  # (owner, federation, island)


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

    @property
    def key(self) -> tuple[str, bytes]:
        """Whoever claims a learnware of somebody else lists another one."""
        return self.id, self.listing.owner


class Field(msgspec.Struct, frozen=True):
    """What one island holds for a query: ``places`` (k,) of the rows that words, tags and filters admit, their
    estimated distances ``mmd2`` (k,), nearest first, and to which of them (``support``) the best mixture of sketches
    gives weight."""

    island: Island
    asked: Sketch
    placed: Placed
    places: Places
    mmd2: Floats
    support: tuple[int, ...]

    def candidate(self, number: int, user: str) -> Candidate:
        """The one with the distance ``mmd2[number]``."""
        listing, spec = self.placed.rows[self.places[number]]
        may = promised(listing.offers, user)
        return Candidate(listing, spec, mmd2=float(self.mmd2[number]), norm2=spec.norm2, may=may)

    def number(self, owned: Owned, learnware_id: bytes) -> int | None:
        """Where a learnware of an owner is, if it is here."""
        if owned not in self.placed.owners:
            return None
        of_owner = np.flatnonzero(self.placed.groups[self.places] == self.placed.owners.index(owned))
        rows = self.placed.rows
        return next((int(n) for n in of_owner if rows[self.places[n]][0].learnware_id == learnware_id), None)


class Plan(msgspec.Struct, frozen=True):
    """Provisional ranking and whom to ask about which island. ``shortlisted`` are the numbers of the candidates in each
    field, in the order of ``fields``."""

    candidates: tuple[Candidate, ...]
    fields: tuple[Field, ...]
    shortlisted: tuple[Places, ...]
    questions: tuple[Question, ...]


def plan(
    query: SearchQuery, islands: Sequence[Island], alive: Callable[[], list[Listing]], sketches: CatalogueSketches,
    now: int,
) -> Plan:  # fmt: skip
    """Rank by sketch distance, or by words where nothing else is asked. ``islands`` are those of the query, in its
    order; ``alive`` gives the listings that its words and tags admit."""
    if not query.specifications:
        return Plan(tuple(_by_words(query, alive())), (), (), ())
    admitted = None
    if query.semantic.tags() or query.semantic.text.strip():
        admitted = {(each.federation, each.owner, each.learnware_id) for each in alive()}

    def wanted(listing: Listing) -> bool:
        fits = admitted is None or (listing.federation, listing.owner, listing.learnware_id) in admitted
        return fits and query.filters.admits(listing, query.user)

    everything = admitted is None and query.filters == type(query.filters)()
    fields, candidates, shortlisted = [], [], []
    for island, asked in zip(islands, query.specifications, strict=True):
        field = _field(island, sketch(asked.rkme, island), sketches, None if everything else wanted, now)
        numbers = _shortlist(field)
        fields.append(field)
        shortlisted.append(numbers)
        candidates += [field.candidate(int(number), query.user) for number in numbers]
    return Plan(tuple(rank(candidates)), tuple(fields), tuple(shortlisted), _questions(fields, candidates))


def rank(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Each learnware of an owner once, mmd2 ascending, ties by id: in its best island, and of several federations as it
    is known best."""
    known: dict[tuple[str, bytes, bytes], Candidate] = {}
    for each in candidates:
        place = (*each.key, each.summary.island if each.summary else b"")
        if place not in known or (each.band, each.mmd2) < (known[place].band, known[place].mmd2):
            known[place] = each
    best: dict[tuple[str, bytes], Candidate] = {}
    for each in known.values():
        if each.key not in best or each.mmd2 < best[each.key].mmd2:
            best[each.key] = each
    return sorted(best.values(), key=lambda each: (each.mmd2, each.key))


def _by_words(query: SearchQuery, alive: list[Listing]) -> list[Candidate]:
    listings = {(each.learnware_id, each.owner): each for each in alive if query.filters.admits(each, query.user)}
    found = list(listings.values())
    scores = query.semantic.scores([each.semantic for each in found])
    order = sorted(range(len(found)), key=lambda place: (-scores[place], found[place].learnware_id))
    return [Candidate(found[place], may=promised(found[place].offers, query.user)) for place in order]


def _field(
    island: Island, asked: Sketch, sketches: CatalogueSketches, wanted: Callable[[Listing], bool] | None, now: int
) -> Field:
    placed = sketches.placed(island.digest, now)
    distances = sketches.distances(island.digest, asked, placed)
    there = np.isfinite(distances)
    if wanted is not None:
        there &= np.array([wanted(listing) for listing, _ in placed.rows], np.bool_)
    places = np.flatnonzero(there)
    places = places[np.argsort(distances[places], kind="stable")]
    names = [placed.names[place] for place in places]
    support = sketches.support(island.digest, asked, names)
    return Field(island, asked, placed, places, distances[places], support)


def _shortlist(field: Field) -> Places:
    """The nearest, ties included, and the support of the mixture."""
    near = np.arange(len(field.mmd2)) < np.searchsorted(field.mmd2, field.mmd2[:SHORTLIST].max(initial=0.0), "right")
    near[list(field.support)] = True
    return np.flatnonzero(near)


def _questions(fields: Sequence[Field], candidates: Sequence[Candidate]) -> tuple[Question, ...]:
    """Owners of the shortlist first, then those of the nearest, at most 32 of them, each once per federation and
    island: with no more owners than that, everybody who has something there."""
    asked: dict[tuple[bytes, bytes, bytes], float] = {}
    for field in fields:
        for number, group in enumerate(field.placed.groups[field.places].tolist()):
            federation, owner = field.placed.owners[group]
            asked.setdefault((owner, federation, field.island.digest), float(field.mmd2[number]))
    first = {each.listing.owner for each in candidates}
    ordered = sorted(asked, key=lambda question: (question[0] not in first, asked[question], question))
    owners = set(list(dict.fromkeys(question[0] for question in ordered))[:MAX_OWNERS])
    return tuple((peer_id(owner), federation, island) for owner, federation, island in ordered if owner in owners)
