"""Forty owners, simulated: what a search calls certain is what one node that holds everything would say."""

import types

import numpy as np
import pytest
from atoll.engine.islands import Island
from atoll.engine.matching import RkmeIndex, mixture_of_rkmes
from atoll.engine.packages.manifest import commitment
from atoll.engine.semantic import SemanticSpec
from atoll.engine.specs import Rkme, sketch
from atoll.node.p2p.errors import Unreachable
from atoll.node.search import hearing, merge, plan, service
from atoll.node.search.query import SearchQuery, SpecificationQuery
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing, Offers, SpecSummary
from atoll.protocol.match import MatchAnswer, MatchReply
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from made_up import MadeUpCatalogue

OWNERS, EACH, DIMENSION = 40, 12, 4
SALT, FEDERATION = bytes(16), b"F" * 32


def rkme(random, island, centre):
    points = (centre + 0.4 * random.normal(size=(12, DIMENSION))).astype(np.float32)
    return Rkme(points, np.full(12, 1 / 12, np.float32), island.gamma, 60)


class Market(MadeUpCatalogue):
    """Owners with learnwares near some centres; ``failing`` do not answer. It is catalogue, network and names."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.one = Island.mint(random.normal(size=(400, DIMENSION)))
        self.centres = 2.0 * random.normal(size=(60, DIMENSION))
        keys = [Ed25519PrivateKey.from_private_bytes(bytes([n + 1]) * 32) for n in range(OWNERS)]
        owners = [key.public_key().public_bytes_raw() for key in keys]
        self.rkmes: dict[str, Rkme] = {}
        super().__init__()
        self.failing: set[str] = set()
        for number in range(OWNERS * EACH):
            made = rkme(random, self.one, self.centres[random.integers(60)])
            short = sketch(made, self.one)
            committed = commitment(SALT, made.to_bytes())
            summary = SpecSummary(self.one.digest, short.values.tobytes(), short.norm2, 60, committed)
            id_ = number.to_bytes(32, "big")
            self.rkmes[id_.hex()] = made
            self.listings.append(
                Listing(owners[number % OWNERS], FEDERATION, id_, bytes(32), 1, 1, "live", SemanticSpec(f"n {number}"),
                        (summary,), Offers(disclose="members"))
            )  # fmt: skip
        self.everything = RkmeIndex(self.rkmes)
        self.owned = {
            owner: RkmeIndex({id_: self.rkmes[id_] for id_ in ids}) for owner, ids in self._ids_by_owner().items()
        }

    def _ids_by_owner(self):
        found: dict[str, list[str]] = {}
        for listing in self.listings:
            found.setdefault(peer_id(listing.owner), []).append(listing.learnware_id.hex())
        return found

    def island(self, digest):
        return self.one

    def islands(self):
        return [self.one]

    def alive(self, now, query, states):
        return self.listings

    def require_answering(self, peer, now):
        """It is always asked."""

    def answered(self, peer):
        """Nothing is kept of it."""

    def name(self, peer):
        return ""

    async def match(self, peer, message, deadline):
        if peer in self.failing:
            raise Unreachable("it is down")
        asked, owned = Rkme.from_record(message.rkme), self.owned[peer]
        named = owned.nearest(asked, message.limit)
        others = {id_ for id_ in map(bytes.hex, message.wanted) if id_ not in named[0]}
        return MatchReply(self._answers(named), self._answers(owned.nearest(asked, len(others), among=others)))

    def _answers(self, ranking):
        return tuple(
            MatchAnswer(bytes.fromhex(id_), bytes(32), float(distance), self.rkmes[id_].norm2, self.rkmes[id_].record(),
                        SALT, may=("match", "disclose"))
            for id_, distance in zip(*ranking, strict=True)
        )  # fmt: skip


@pytest.fixture(scope="module")
def market():
    return Market()


async def searched(market, random, privacy="rkme", limit=5):
    """(what a search says, the ids that a node which holds everything names)."""
    near, far = random.integers(60, size=2)
    asked = rkme(random, market.one, market.centres[near] + 0.2 * (market.centres[far] - market.centres[near]))
    market.asked = asked
    users = types.SimpleNamespace(of=lambda user, federation: "")
    searcher = service.Searcher(market, None, "", market, market, users)
    query = SearchQuery((SpecificationQuery(market.one.digest, asked),), limit=limit, privacy=privacy, user="somebody")
    found = await searcher.search(query)
    truth, _ = market.everything.nearest(asked, limit)
    return found, list(truth)


async def count(market, monkeypatch, queries, seed):
    """(healthy searches called certain, all healthy ones); a wrong claim is an error."""
    monkeypatch.setattr(hearing, "ANSWERS", 5)
    monkeypatch.setattr(service, "ANSWERS", 5)
    random, claimed, healthy = np.random.default_rng(seed), 0, 0
    owners = sorted(market.owned)
    for number in range(queries):
        sick = number % 2
        market.failing = set(random.choice(owners, random.integers(1, 12), replace=False)) if sick else set()
        found, truth = await searched(market, random)
        if found.topk_exact:
            assert [hit.learnware_id for hit in found.hits] == truth
            near = {peer_id(each.owner) for each in market.listings if each.learnware_id.hex() in truth}
            assert not near & market.failing
        healthy += not sick
        claimed += found.topk_exact and not sick
    return claimed, healthy


async def test_what_is_called_certain_is_what_one_node_would_say_and_is_so_often(market, monkeypatch):
    claimed, healthy = await count(market, monkeypatch, 80, 1)
    assert claimed >= healthy / 2


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_no_claim_is_wrong_in_a_thousand_searches(market, monkeypatch):
    claimed, healthy = await count(market, monkeypatch, 1000, 2)
    print(f"{claimed} of {healthy} healthy searches were certain")
    assert claimed >= healthy / 2


async def test_more_owners_than_are_asked_at_first_are_asked_where_they_may_matter(market, monkeypatch):
    monkeypatch.setattr(hearing, "ANSWERS", 5)
    monkeypatch.setattr(service, "ANSWERS", 5)
    market.failing, random = set(), np.random.default_rng(8)
    asked = []
    for number in range(20):
        found, truth = await searched(market, random, limit=5 if number % 2 else 20)
        assert found.peers_answered == found.peers_asked
        assert not found.topk_exact or [hit.learnware_id for hit in found.hits] == truth
        asked.append(len(found.peers_asked))
    assert (min(asked), max(asked)) == (plan.MAX_OWNERS, OWNERS)


async def test_the_mixture_is_that_of_one_node_though_its_members_are_not_among_the_nearest(market, monkeypatch):
    for module, name in ((hearing, "ANSWERS"), (service, "ANSWERS"), (merge, "NEAREST"), (plan, "NEAREST")):
        monkeypatch.setattr(module, name, 5)
    market.failing, random = set(), np.random.default_rng(5)
    for _ in range(10):
        found, _ = await searched(market, random)
        assert found.mixture.representation == "rkme"
        members = [market.rkmes[member.learnware_id] for member in found.mixture.members]
        solved = mixture_of_rkmes(market.asked, members)
        assert found.mixture.mmd2 == pytest.approx(solved.mmd2, abs=1e-8)


async def test_what_only_sketches_say_is_hardly_ever_certain(market):
    market.failing = set()
    found, _ = await searched(market, np.random.default_rng(3), privacy="local")
    assert not found.topk_exact
    assert found.peers_asked == ()
