"""Round 0: what the asked node can say from its own catalogue, sending nothing (network.md, section 7)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain

import msgspec
import numpy as np
from atoll.engine.islands import Island
from atoll.engine.matching import ERROR_BAND, at_least
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.sketch import Sketch
from atoll.node.search.query import Filters, SearchQuery
from atoll.node.search.sketches import CatalogueSketches, Nearest
from atoll.node.search.standing import Row
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing, SpecSummary
from atoll.protocol.match import MAX_WANTED
from atoll.protocol.policy import Act, promised
from numpy.typing import NDArray

SHORTLIST = 200  # nearest by sketch, of an island, that are looked at one by one
LOOKED_AT = 2000  # with all that is no plain listing among them
NEAREST = 50  # of which a mixture may be made, beside the support of the best mixture of sketches
MAX_OWNERS = 32
SEEN = 0.99  # <u, u> where all rows of the user are one point to the kernel

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Question = tuple[str, bytes, bytes]  # (owner, federation, island)
Key = tuple[bytes, bytes, bytes]  # (federation, owner, learnware)


class Candidate(msgspec.Struct, frozen=True):
    """A listing in one of the query's islands (or none), with its distance and what that may err by: nothing once its
    owner has answered with the RKME that the listing commits to. What the user ``may`` do is what the audiences of the
    listing promise, until its owner has said. ``stand_in`` is what its owner gives of an RKME that it keeps.
    ``floor``: its owner has named others, all of them nearer than that;
    ``declined``: it has named all that it lets this user match, and not this one. ``face``: of which listing it is a
    copy, or its own; of what has one face the lowest ``age`` is the eldest. ``hub``, ``odd`` and
    ``new`` are as in Standing."""

    listing: Listing
    summary: SpecSummary | None = None
    mmd2: float = 0.0
    norm2: float = 0.0
    estimated: bool = True
    band: float = ERROR_BAND
    suspect: bool = False
    rkme: Rkme | None = None
    stand_in: Rkme | None = None
    may: tuple[Act, ...] = ()
    floor: float = 0.0
    declined: bool = False
    face: Key | None = None
    age: int = 0
    hub: bool = False
    odd: bool = False
    new: bool = False
    unit: float = 1.0

    @property
    def rank(self) -> float:
        """What the ranking is by: MMD^2, and where there are several islands, whose kernels differ, in units of it."""
        return self.mmd2 * self.unit

    @property
    def least(self) -> float:
        """The rank is no less than this."""
        least = self.mmd2 - self.band
        if self.estimated and self.summary is not None and self.summary.dp is None:
            least = float(at_least(self.mmd2))
        return max(self.floor, least) * self.unit

    @property
    def most(self) -> float:
        return (self.mmd2 + self.band) * self.unit

    @property
    def points(self) -> Rkme | None:
        """What distances and mixtures are computed from, if its owner has given anything."""
        return self.rkme or self.stand_in

    @property
    def id(self) -> str:
        return self.listing.learnware_id.hex()

    @property
    def owner(self) -> str:
        return peer_id(self.listing.owner)

    @property
    def doubtful(self) -> bool:
        return self.hub or self.odd or self.new

    @property
    def place(self) -> Key:
        """Where it is listed."""
        return self.listing.federation, self.listing.owner, self.listing.learnware_id

    @property
    def group(self) -> tuple[bytes, Key]:
        """What is near-identical has one."""
        return self.summary.island if self.summary else b"", self.face or self.place

    @property
    def key(self) -> tuple[bytes, bytes]:
        """Whoever claims a learnware of somebody else lists another one."""
        return self.listing.learnware_id, self.listing.owner


class Field(msgspec.Struct, frozen=True, dict=True):
    """What one island holds for a query, by estimated distance. ``unit`` is 1 / (1 - <u, u>), where there are several:
    under a wide kernel, where the user's own rows are near each other, everything is."""

    island: Island
    asked: Sketch
    nearest: Nearest
    unit: float = 1.0

    @cached_property
    def groups(self) -> Places:
        """Whose each is, as a number in ``placed.owners``."""
        return self.nearest.placed.groups[self.nearest.places]

    def row(self, number: int) -> Row:
        return self.nearest.placed.rows[self.nearest.places[number]]

    def candidate(self, number: int, query: SearchQuery) -> Candidate:
        """The one that is the nearest but ``number``."""
        listing, spec = self.row(number)
        place, standing = self.nearest.places[number], self.nearest.standing
        face, _ = self.nearest.placed.rows[standing.face[place]]
        return Candidate(
            listing, spec, mmd2=float(self.nearest.mmd2[number]), norm2=spec.norm2, may=query.may(listing),
            unit=self.unit, face=(face.federation, face.owner, face.learnware_id), age=int(standing.age[place]),
            hub=bool(standing.hub[place]), odd=bool(standing.odd[place]), new=bool(standing.new[place]),
        )  # fmt: skip

    @cached_property
    def plain(self) -> NDArray[np.bool_]:
        """Which are neither copies of something else here, nor hubs, nor of an odd norm, nor a newcomer's."""
        standing, places = self.nearest.standing, self.nearest.places
        return np.asarray(standing.sound(places) & ~standing.new[places])


class Plan(msgspec.Struct, frozen=True):
    """Provisional ranking and whom to ask about which island. ``shortlisted`` are the numbers of the candidates in each
    field, in the order of ``fields``; ``wanted`` of an owner is what it is asked about by name."""

    candidates: tuple[Candidate, ...]
    fields: tuple[Field, ...]
    shortlisted: tuple[Places, ...]
    questions: tuple[Question, ...]
    wanted: Mapping[Question, tuple[bytes, ...]] = {}


def plan(
    query: SearchQuery, islands: Sequence[Island], alive: Callable[[], list[Listing]], sketches: CatalogueSketches,
    now: int,
) -> Plan:  # fmt: skip
    """Rank by sketch distance, or by words where nothing else is asked. ``islands`` are those of the query, in its
    order; ``alive`` gives the listings that its words and tags admit."""
    if not query.specifications:
        return Plan(tuple(_by_words(query, alive(), sketches.first_seen)), (), (), ())
    admitted = None
    if query.semantic.tags() or query.semantic.text.strip():
        admitted = {(each.federation, each.owner, each.learnware_id) for each, _ in _fitting(query, alive())}

    def wanted(listing: Listing) -> bool:
        if admitted is not None:
            return (listing.federation, listing.owner, listing.learnware_id) in admitted
        return query.admits(listing) and may_be_found(listing, query.user)

    everything = admitted is None and query.filters == Filters() and query.user != ""
    fields, candidates, shortlisted = [], [], []
    for island, asked in zip(islands, query.specifications, strict=True):
        short = asked.sketch(island)
        found = sketches.nearest(island.digest, short, None if everything else wanted, now)
        field = Field(island, short, found, 1.0 / (1.0 - min(asked.norm2, SEEN)) if len(islands) > 1 else 1.0)
        numbers = _shortlist(field)
        fields.append(field)
        shortlisted.append(numbers)
        candidates += [field.candidate(int(number), query) for number in numbers]
    questions = _questions(fields)
    narrowed = query.filters != Filters() or query.semantic.text.strip() != ""
    by_name = _by_name(fields, shortlisted if narrowed else [])
    return Plan(tuple(rank(candidates)), tuple(fields), tuple(shortlisted), questions, by_name)


def may_be_found(listing: Listing, user: str) -> bool:
    """Whoever has signed in is told of all that is listed, since owners may allow it to them; a stranger, for whom no
    owner can, of what everybody may match, and nothing of who else there is."""
    return user != "" or "match" in promised(listing.offers, user)


def rank(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Each learnware of an owner once, MMD^2 ascending, ties by id: in its best island, and of several federations as
    it is known best."""
    known: dict[tuple[bytes, bytes, bytes], Candidate] = {}
    for each in candidates:
        place = (*each.key, each.summary.island if each.summary else b"")
        if place not in known or (each.band, each.mmd2) < (known[place].band, known[place].mmd2):
            known[place] = each
    best: dict[tuple[bytes, bytes], Candidate] = {}
    for each in known.values():
        if each.key not in best or each.rank < best[each.key].rank:
            best[each.key] = each
    return sorted(best.values(), key=lambda each: (each.rank, each.key))


def _fitting(query: SearchQuery, alive: Sequence[Listing]) -> list[tuple[Listing, float]]:
    """What passes the filters, with how well the words fit: of what has them exactly nothing that is only alike."""
    open_ = [each for each in alive if query.admits(each) and may_be_found(each, query.user)]
    scores = query.semantic.foremost([each.semantic for each in open_])
    return [(each, score) for each, score in zip(open_, scores, strict=True) if score > 0]


def _by_words(query: SearchQuery, alive: list[Listing], first_seen: Callable[[Listing], int]) -> list[Candidate]:
    """Whoever lists a learnware lists the same, whatever its owner; the distance is what the words leave open."""
    matchable = [each for each in alive if "match" in query.may(each)]
    order = sorted(_fitting(query, matchable), key=lambda pair: (-pair[1], pair[0].learnware_id))
    return [
        Candidate(
            listing, mmd2=1.0 - score / 100.0, may=query.may(listing),
            face=(b"", b"", listing.learnware_id), age=first_seen(listing),
        )
        for listing, score in order
    ]  # fmt: skip


def _shortlist(field: Field) -> Places:
    """The nearest, ties included, and the support of the mixture. What is not plain pushes nothing out."""
    found = field.nearest
    nearest = np.flatnonzero(field.plain)[:SHORTLIST]
    last = found.mmd2[nearest[-1]] if len(nearest) == SHORTLIST else np.inf
    near = found.mmd2 <= last
    near[LOOKED_AT:] = False
    near[list(found.support)] = True
    return np.flatnonzero(near)


def _questions(fields: Sequence[Field]) -> tuple[Question, ...]:
    """Owners of what a mixture may be made of first, then those of the nearest, at most 32 of them, each once per
    federation and island: with no more owners than that, everybody who has something there. Whoever has nothing plain
    there comes last."""
    asked: dict[tuple[bytes, bytes, bytes], tuple[bool, float]] = {}
    needed: set[bytes] = set()
    for field in fields:
        plain = np.flatnonzero(field.plain)
        needed |= {field.row(number)[0].owner for number in {*plain[:NEAREST], *field.nearest.support} & {*plain}}
        for among, last in ((np.arange(len(field.groups)), True), (plain, False)):
            groups, firsts = np.unique(field.groups[among], return_index=True)  # the first is the nearest
            for group, nearest in zip(groups, among[firsts], strict=True):
                federation, owner = field.nearest.placed.owners[group]
                asked[owner, federation, field.island.digest] = (last, float(field.nearest.mmd2[nearest]))
    ordered = sorted(asked, key=lambda question: (question[0] not in needed, asked[question], question))
    return of_first_owners((peer_id(owner), federation, island) for owner, federation, island in ordered)


def of_first_owners(ordered: Iterable[Question]) -> tuple[Question, ...]:
    """Those of the first 32 owners."""
    questions = tuple(ordered)
    owners = set(list(dict.fromkeys(question[0] for question in questions))[:MAX_OWNERS])
    return tuple(question for question in questions if question[0] in owners)


def _by_name(fields: Sequence[Field], also: Sequence[Places]) -> dict[Question, tuple[bytes, ...]]:
    """By question, what an owner would not name among its nearest: the support of the mixture, and with filters that
    it does not know, or words that others fit better, in ``also`` by field, all that is looked at here."""
    wanted: defaultdict[Question, list[bytes]] = defaultdict(list)
    for place, field in enumerate(fields):
        for number in dict.fromkeys(chain(field.nearest.support, also[place].tolist() if also else ())):
            listing, summary = field.row(number)
            if summary.dp is None:
                wanted[peer_id(listing.owner), listing.federation, summary.island].append(listing.learnware_id)
    return {question: tuple(ids[:MAX_WANTED]) for question, ids in wanted.items()}
