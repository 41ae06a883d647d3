"""Forty simulated owners, of whom some do not answer: whether what a search calls certain is what one node would say
that holds everything, and how often it says so."""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
from atoll.engine.islands import Island
from atoll.engine.matching import RkmeIndex
from atoll.engine.matching.oracle import told
from atoll.engine.semantic import SemanticQuery, SemanticSpec
from atoll.engine.specs import Rkme
from atoll.node.p2p.errors import Unreachable
from atoll.node.search import hearing, merge, plan, service
from atoll.node.search.query import SearchQuery, SpecificationQuery
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing, Offers, SpecSummary
from atoll.protocol.match import MatchAnswer, MatchReply, MatchRequest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from search_figures import Figure
from search_market import Learnware, Market

OWNERS, LEARNWARES, HIDDEN, SEARCHES = 40, 600, 0.1, 1000
POINTS = (20, 40)
NAMED = 10  # an owner names fewer than it has, and of so many nearest a mixture is made: 50 of more on real nodes
MOST_SICK = 12
PLACES = (1, 3, 5, 10)
FEDERATION = b"F" * 32


class Simulated:
    """Catalogue, network and peers of a searcher, over a market; the owners in ``failing`` do not answer."""

    def __init__(self, market: Market) -> None:
        keys = [Ed25519PrivateKey.from_private_bytes(bytes([n + 1]) * 32) for n in range(market.owners)]
        self._publics = [key.public_key().public_bytes_raw() for key in keys]
        self._market = market
        self._listings = sorted(map(self._listing, market.all), key=lambda each: (each.owner, each.learnware_id))
        self._by_owner: defaultdict[bytes, list[Listing]] = defaultdict(list)
        for each in self._listings:
            self._by_owner[each.owner].append(each)
        self._indexes = [self._index(market.of(number)) for number in range(market.owners)]
        self.peers = [str(peer_id(public)) for public in self._publics]
        self.failing: set[str] = set()

    def _listing(self, each: Learnware) -> Listing:
        short = each.listed
        summary = SpecSummary(each.island.digest, short.values.tobytes(), short.norm2, 64, each.committed)
        offers = Offers(disclose="members") if each.disclosed else Offers()
        owner = self._publics[each.owner]
        return Listing(owner, FEDERATION, each.id, bytes(32), 1, 1, "live", SemanticSpec("made"), (summary,), offers)

    @staticmethod
    def _index(own: list[Learnware]) -> tuple[RkmeIndex, dict[str, Learnware]]:
        """Of hidden learnwares an owner says what their stand-ins say."""
        by_id = {each.id.hex(): each for each in own}
        answered = {id_: each.told for id_, each in by_id.items()}
        return RkmeIndex(answered), by_id

    # -- catalogue

    def island(self, digest: bytes) -> Island:
        return next(each for each in self._market.places if each.digest == digest)

    def islands(self) -> list[Island]:
        return self._market.places

    def alive(self, now: int, query: SemanticQuery, states: object) -> list[Listing]:
        return self._listings

    def owners(self) -> list[tuple[bytes, bytes]]:
        return [(FEDERATION, owner) for owner in sorted(self._by_owner)]

    def of_owner(self, federation: bytes, owner: bytes) -> list[Listing]:
        return self._by_owner[owner]

    def in_island(self, island: bytes, now: int) -> list[Listing]:
        return self._listings

    def first_seen(self, listing: Listing, island: bytes) -> int:
        return 0

    def newcomer(self, federation: bytes, owner: bytes, now: int) -> bool:
        return False

    def on_change(self, listener: object) -> None:
        """It never changes."""

    def record(self, listing: Listing) -> None:
        return None

    # -- peers

    def require_answering(self, peer: str, now: int) -> None:
        """It is always asked."""

    def answered(self, peer: str) -> None:
        """Nothing is kept of it."""

    def unanswered(self, peer: str, now: int) -> None:
        """Nor of this."""

    def name(self, peer: str) -> str:
        return ""

    # -- network

    async def match(self, peer: str, message: MatchRequest, deadline: float) -> MatchReply:
        if peer in self.failing:
            raise Unreachable("it is down")
        assert message.rkme is not None
        index, own = self._indexes[self.peers.index(peer)]
        distances = dict(zip(index.ids, index.distances(Rkme.from_record(message.rkme)).tolist(), strict=True))
        said = {id_: value if own[id_].disclosed else told(value) for id_, value in distances.items()}
        ranked = sorted(said, key=lambda id_: (said[id_], id_))
        beyond = {each.hex() for each in message.wanted} & set(ranked[message.limit :])
        answers = {id_: self._answer(own[id_], said[id_]) for id_ in {*ranked[: message.limit], *beyond}}
        return MatchReply(
            tuple(answers[id_] for id_ in ranked[: message.limit]), tuple(answers[id_] for id_ in sorted(beyond))
        )

    @staticmethod
    def _answer(each: Learnware, mmd2: float) -> MatchAnswer:
        if not each.disclosed:
            return MatchAnswer(each.id, bytes(32), mmd2, each.listed.norm2, stand_in=each.told.record(), may=("match",))
        may = ("match", "disclose")
        return MatchAnswer(each.id, bytes(32), mmd2, each.rkme.norm2, each.rkme.record(), each.salt, may=may)


async def measured(searches: int = SEARCHES) -> list[Figure]:
    shown, some_hidden = (Market(OWNERS, LEARNWARES, points=POINTS, hidden=share) for share in (0.0, HIDDEN))
    with ExitStack() as stack:
        for module, name in ((hearing, "ANSWERS"), (service, "ANSWERS"), (plan, "NEAREST"), (merge, "NEAREST")):
            stack.enter_context(patch.object(module, name, NAMED))
        figures = await _claims(shown, searches, "everything disclosed", 0.5)
        return [*figures, *await _claims(some_hidden, searches // 5, f"{HIDDEN:.0%} undisclosed", None)]


async def _claims(market: Market, searches: int, name: str, least: float | None) -> list[Figure]:
    """Every other search is healthy; in the others up to a dozen owners fail."""
    simulated, random = Simulated(market), np.random.default_rng(3)
    pseudonyms = SimpleNamespace(of=lambda user, federation: "")
    searcher = service.Searcher(simulated, None, "", simulated, simulated, pseudonyms)
    claimed = healthy = wrong = missed = despite = 0
    for number, query in enumerate(market.queries(searches)):
        sick = bool(number % 2)
        chosen = random.choice(simulated.peers, random.integers(1, MOST_SICK), replace=False) if sick else ()
        simulated.failing = set(map(str, chosen))
        places = int(random.choice(PLACES))
        specifications = tuple(SpecificationQuery(island.digest, rkme) for island, rkme in query)
        found = await searcher.search(SearchQuery(specifications, limit=places, deadline_ms=60_000, user="somebody"))
        true = [place.id for place in market.ranking(query, places)]
        healthy += not sick
        if found.topk_exact:
            claimed += not sick
            despite += sick
            wrong += [hit.learnware_id for hit in found.hits] != true
            missed += _matters(simulated, market, true)
    return [
        Figure(f"{name}, {searches} searches: claims that are wrong", wrong, "", 0),
        Figure(f"{name}: claims although an owner of a true place failed", missed, "", 0),
        Figure(f"{name}: share of healthy searches called certain", claimed / healthy, "", least, least=True),
        Figure(f"{name}: claims where some failed that do not matter", despite),
    ]


def _matters(simulated: Simulated, market: Market, true: list[str]) -> bool:
    return any(simulated.peers[market.by_id[id_].owner] in simulated.failing for id_ in true)
