"""Answers match requests from the own specifications, as the policies allow. Plain blocking code, thread-safe."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from atoll.engine.errors import DimensionMismatch, QueryTooNarrow
from atoll.engine.islands import Island
from atoll.engine.matching.oracle import check_query
from atoll.engine.semantic import SemanticQuery
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.sketch import Sketch
from atoll.node.clock import now_ms
from atoll.node.matching.shelf import Entry, Shelf
from atoll.node.matching.specifications import OwnSpecifications
from atoll.node.policy import Gate
from atoll.node.store.catalogue import Catalogue
from atoll.protocol import limits
from atoll.protocol.listings import Listing
from atoll.protocol.match import MAX_LIMIT, MatchAnswer, MatchReply, MatchRequest
from atoll.protocol.policy import Act, Asker

Pairs = list[tuple[str, float]]  # ids and distances
ROOM = limits.MATCH_FRAME - 512 * 1024  # bytes of RKMEs in one reply; the rest of it is far below what is left


@dataclass(frozen=True)
class Offered:
    """What an asker may match, by id: with the RKME or without."""

    shown: dict[str, Entry]
    hidden: dict[str, Entry]

    def __getitem__(self, id_: str) -> Entry:
        return self.shown.get(id_) or self.hidden[id_]

    def wanted(self, ids: Collection[bytes]) -> set[str]:
        return {id_ for id_ in (each.hex() for each in ids) if id_ in self.shown or id_ in self.hidden}


class Matcher:
    """Whether the asker's node is a member has been checked by the caller."""

    def __init__(self, catalogue: Catalogue, specifications: OwnSpecifications, gate: Gate) -> None:
        self._catalogue = catalogue
        self._specifications = specifications
        self._gate = gate

    def match(self, asker: Asker, request: MatchRequest) -> MatchReply:
        """Rank the learnwares that may be matched: exactly those whose RKME is disclosed to the asker, which comes with
        the answer; the others as far as can be told of them (engine.matching.oracle). A sketch is compared with the
        listed ones. Those that are wanted are answered about beyond the limit.

        Of a learnware under differential privacy there is nothing to say that its listing does not: it is left out.
        Raises QueryTooNarrow if the query is, and nothing is disclosed; NodeBusy while stand-ins are being made.
        """
        asked, now = _asked(request, self._catalogue.island(request.island)), now_ms()
        while True:
            with self._specifications.shelf(request.federation, request.island) as shelf:
                offered = self._offered(shelf, asker, request.semantic, now)
                if isinstance(asked, Rkme):
                    offered = _answerable(asked, offered)
                lacking = shelf.without_stand_in(offered.hidden) if isinstance(asked, Rkme) else []
                if not lacking:
                    near, beyond = _ranked(shelf, asked, offered, request)
                    stand_ins = {id_: shelf.stand_in_of(id_) for id_, _ in (*near, *beyond) if id_ in offered.hidden}
                    break
            self._specifications.prepare([offered.hidden[id_] for id_ in lacking])
        return self._reply(near, beyond, offered, stand_ins, asker, now)

    def _offered(self, shelf: Shelf, asker: Asker, query: SemanticQuery, now: int) -> Offered:
        shown: dict[str, Entry] = {}
        hidden: dict[str, Entry] = {}
        for policy, group in shelf.groups.items():
            matched = _fitting(query, self._gate.allowed("match", policy, group.listings, asker, now))
            disclosed = self._gate.allowed("disclose", policy, matched, asker, now)
            shown.update(group.of(disclosed))
            if len(disclosed) < len(matched):
                hidden.update((id_, entry) for id_, entry in group.of(matched).items() if id_ not in shown)
        return Offered(shown, hidden)

    def _reply(
        self, near: Pairs, beyond: Pairs, offered: Offered, stand_ins: Mapping[str, Rkme | None], asker: Asker, now: int
    ) -> MatchReply:
        """Count what is told, and tell it."""
        sent = _sent([id_ for id_, _ in (*near, *beyond)], offered.shown, stand_ins)
        given = {id_: entry for id_, entry in offered.shown.items() if id_ in sent}
        told = [offered[id_].listing for id_, _ in (*near, *beyond)]
        self._gate.count("match", ((listing, 1) for listing in told), asker, now)
        self._gate.count("disclose", ((entry.listing, 1) for entry in given.values()), asker, now)

        def answer(id_: str, mmd2: float) -> MatchAnswer:
            entry = offered[id_]
            may = self._gate.acts(entry.listing, asker, now, entry.policy)
            return _answer(entry, mmd2, may, id_ in given, sent.get(id_))

        return MatchReply(*(tuple(answer(*pair) for pair in pairs) for pairs in (near, beyond)))


def _asked(request: MatchRequest, island: Island) -> Rkme | Sketch:
    if request.sketch is not None:
        return request.sketch.to_sketch()
    assert request.rkme is not None  # a request has one of the two
    query = Rkme.from_record(request.rkme)
    if not query.comparable(island):
        raise DimensionMismatch("the query does not come from the island that it names")
    return query


def _fitting(query: SemanticQuery, listings: Sequence[Listing]) -> Sequence[Listing]:
    """As ``query.matches`` says one by one."""
    if query.tags():
        listings = [each for each in listings if query.admits(each.semantic)]
    if not query.text.strip():
        return listings
    scores = query.scores([each.semantic for each in listings])
    return [each for each, score in zip(listings, scores, strict=True) if score > 0]


def _answerable(query: Rkme, offered: Offered) -> Offered:
    """Without what is hidden where the query is a probe; QueryTooNarrow if nothing is left."""
    if not offered.hidden:
        return offered
    try:
        check_query(query)
    except QueryTooNarrow:
        if not offered.shown:
            raise
        return Offered(offered.shown, {})
    return offered


def _ranked(shelf: Shelf, asked: Rkme | Sketch, offered: Offered, request: MatchRequest) -> tuple[Pairs, Pairs]:
    """The nearest, as many as were asked for, and the wanted beyond them; ascending, ties by id."""
    limit = max(0, min(request.limit, MAX_LIMIT))
    near = _nearest(shelf, asked, offered.shown, offered.hidden, limit)
    wanted = offered.wanted(request.wanted) - {id_ for id_, _ in near}
    beyond = _nearest(shelf, asked, wanted & offered.shown.keys(), wanted & offered.hidden.keys(), len(wanted))
    return near, beyond


def _nearest(shelf: Shelf, asked: Rkme | Sketch, shown: Collection[str], hidden: Collection[str], limit: int) -> Pairs:
    if isinstance(asked, Sketch):
        rankings = [shelf.nearest_listed(asked, [*shown, *hidden], limit)]
    else:
        rankings = [shelf.nearest(asked, shown, limit), shelf.nearest_told(asked, hidden, limit)]
    pairs = [pair for ids, distances in rankings for pair in zip(ids, distances.tolist(), strict=True)]
    return sorted(pairs, key=lambda pair: (pair[1], pair[0]))[:limit]


def _sent(ids: Sequence[str], shown: dict[str, Entry], stand_ins: Mapping[str, Rkme | None]) -> dict[str, Rkme]:
    """The RKMEs and stand-ins that go into the reply: of large ones, so many of the first as there is room for."""
    sent, room = {}, ROOM
    for id_ in ids:
        rkme = shown[id_].rkme if id_ in shown else stand_ins.get(id_)
        size = rkme.points.nbytes + rkme.weights.nbytes if rkme else 0
        if rkme and size <= room:
            sent[id_], room = rkme, room - size
    return sent


def _answer(entry: Entry, mmd2: float, may: tuple[Act, ...], disclosed: bool, sent: Rkme | None) -> MatchAnswer:
    listing, record = entry.listing, sent.record() if sent else None
    if not disclosed:
        return MatchAnswer(
            listing.learnware_id, listing.revision, mmd2, entry.summary.norm2, stand_in=record, may=may
        )  # fmt: skip
    norm2 = entry.rkme.norm2
    return MatchAnswer(listing.learnware_id, listing.revision, mmd2, norm2, record, entry.salt, may=may)
