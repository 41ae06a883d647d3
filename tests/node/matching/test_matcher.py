"""What an owner answers is what the dock, the listings and the policies say at that moment, whatever has happened."""

from contextlib import suppress

import numpy as np
import pytest
from atoll.engine.errors import QueryTooNarrow
from atoll.engine.matching import SketchIndex
from atoll.engine.matching.oracle import check_query, told
from atoll.engine.semantic import SemanticQuery
from atoll.engine.specs import mmd2, sketch
from atoll.engine.specs.stand_in import stand_in
from atoll.node.clock import now_ms
from atoll.node.matching import matcher as matching
from atoll.node.matching import specifications
from atoll.protocol.ask import AskRequest
from atoll.protocol.errors import NotFound, PolicyDenied
from atoll.protocol.ids import peer_id
from atoll.protocol.match import AskedSketch, MatchRequest
from atoll.protocol.policy import Asker, Policy, Rule

PEER, NAMED = peer_id(b"p" * 32), peer_id(b"n" * 32)
SHOWN, HIDDEN = Policy(disclose=Rule("members")), Policy()
POLICIES = [
    HIDDEN,
    SHOWN,
    Policy(match=Rule("nobody")),
    Policy(match=Rule("anyone")),
    Policy(match=Rule("anyone"), disclose=Rule("anyone")),
    Policy(disclose=Rule("nobody", (NAMED,))),
    Policy(match=Rule("members", per_peer=3)),
    Policy(disclose=Rule("members", per_user=2)),
    Policy(match=Rule("ask"), disclose=Rule("ask")),
]
WORDS = ("red", "green", "blue")


@pytest.fixture(autouse=True)
def unhurried(monkeypatch):
    monkeypatch.setattr(specifications, "PATIENCE", 60.0)


def brute_force(owner, asker, request):
    """[(learnware, distance, whether with the RKME)] of all that may be matched, and so the wanted among them."""
    island, now, gate = owner.catalogue.island(request.island), now_ms(), owner.gate
    query = None if request.rkme is None else matching._asked(request, island)
    found, refused = [], None
    for listing in owner.catalogue.of_owner(request.federation, owner.identity.public):
        summary = next((each for each in listing.specifications if each.island == island.digest), None)
        with suppress(NotFound):
            learnware = owner.dock.get(listing.learnware_id)
            if summary is None or listing.status != "live":
                continue
            if learnware.commitments.get(island.digest) != summary.commitment:
                continue
            if not (gate.may("match", listing, asker, now) and gate.left("match", listing, asker, now)):
                continue
            if not request.semantic.matches(listing.semantic):
                continue
            rkme = learnware.rkme(island.digest)
            shown = gate.may("disclose", listing, asker, now) and gate.left("disclose", listing, asker, now)
            if query is None:
                (distance,) = SketchIndex({"": summary.to_sketch()}).distances(request.sketch.to_sketch())
            elif shown:
                distance = mmd2(query, rkme)
            else:
                try:
                    check_query(query)
                except QueryTooNarrow as error:
                    refused = error
                    continue
                distance = told(mmd2(query, stand_in(rkme)))
            found.append((distance, listing.learnware_id, bool(shown)))
    if refused and not found:
        raise refused
    found.sort()
    near, rest = found[: request.limit], found[request.limit :]
    return near, [each for each in rest if each[1] in request.wanted]


def same(owner, asker, request):
    """Whether the answer, or the refusal, is that of brute force; returns it."""
    try:
        expected = brute_force(owner, asker, request)
    except QueryTooNarrow:
        with pytest.raises(QueryTooNarrow):
            owner.matcher.match(asker, request)
        return None
    reply = owner.matcher.match(asker, request)
    for answers, wanted in zip((reply.answers, reply.wanted), expected, strict=True):
        assert [(each.learnware_id, each.rkme is not None) for each in answers] == [each[1:] for each in wanted]
        assert [each.mmd2 for each in answers] == pytest.approx([each[0] for each in wanted], rel=1e-9, abs=1e-12)
        for answer in answers:
            listing = owner.catalogue.listing(request.federation, owner.identity.public, answer.learnware_id)
            assert (answer.revision, answer.may) == (listing.revision, owner.gate.acts(listing, asker, now_ms()))
    return reply


class Life:
    """Random things that an owner does."""

    def __init__(self, owner, random, draw):
        self.owner, self.random, self.draw = owner, random, draw
        self.federations = [owner.federations.create(name, now_ms()).id for name in ("one", "two")]

    def any(self, choices):
        return choices[self.random.integers(len(choices))]

    def listed(self):
        own = self.owner.identity.public
        return [each for federation in self.federations for each in self.owner.catalogue.of_owner(federation, own)]

    def rkmes(self):
        islands = self.owner.islands[: self.random.integers(1, 3)]
        return {island: self.draw(self.random, island) for island in islands}

    def step(self):
        docked, listed = [each.id for each in self.owner.dock.all()], self.listed()
        act = self.random.integers(12)
        if act < 3 or not docked or not listed:
            learnware = self.owner.add(self.rkmes(), name=self.any(WORDS))
            self.owner.publish(learnware, self.any(self.federations), self.any(POLICIES))
        elif act < 6:
            self.owner.publish(self.any(docked), self.any(self.federations), self.any(POLICIES))
        elif act == 6:
            one = self.any(listed)
            self.owner.publisher.withdraw(one.learnware_id, one.federation, now_ms())
        elif act == 7:
            self.owner.add(self.rkmes(), self.any(docked), name=self.any(WORDS))  # not listed (yet)
        elif act == 8:
            one = self.any(docked)
            self.owner.add(self.rkmes(), one, name=self.any(WORDS))
            for listing in self.owner.publisher.listed_in(one):
                self.owner.publish(one, listing.federation, self.owner.gate.policy(listing))
        elif act == 9:
            self.owner.dock.remove(self.any(docked))
        elif act == 10:
            self.grant(self.any(listed))
        elif self.random.integers(3) == 0:
            self.owner.federations.leave(self.federations.pop(self.random.integers(2)))
            self.federations.append(self.owner.federations.create("next", now_ms()).id)

    def grant(self, listing):
        gate, asker, now = self.owner.gate, Asker(PEER, "u"), now_ms()
        with suppress(PolicyDenied):  # there is no asking for it, or it was denied a moment ago
            gate.ask(listing, asker, AskRequest(listing.federation, listing.learnware_id, ("match",)), now)
            if rows := gate.requests.all():
                gate.requests.decide(rows[0].id, self.any(["granted", "denied"]), now, now + 10**6)

    def request(self):
        island, random = self.any(self.owner.islands), self.random
        query = self.draw(random, island, self.any([5, 40]))
        asked = {"rkme": query.record()} if random.integers(3) else {"sketch": AskedSketch.of(sketch(query, island))}
        semantic = SemanticQuery(text=self.any(("", "", self.any(WORDS))))
        known = [each.learnware_id for each in self.listed()] or [bytes(32)]
        wanted = tuple(self.any(known) for _ in range(random.integers(4)))
        return MatchRequest(
            self.any(self.federations),
            island.digest,
            semantic=semantic,
            limit=int(random.integers(8)),
            wanted=wanted,
            **asked,
        )


@pytest.mark.parametrize("seed", range(3))
def test_after_anything_answers_are_those_of_brute_force(institution, draw, seed):
    random = np.random.default_rng(seed)
    with institution() as owner:
        owner.specifications.start()
        life = Life(owner, random, draw)
        own = owner.identity.peer
        askers = [Asker(PEER, "u"), Asker(PEER, "v"), Asker(PEER), Asker(NAMED, "u"), Asker(own, "u"), Asker(own)]
        told_of = 0
        for _ in range(80):
            life.step()
            reply = same(owner, life.any(askers), life.request())
            told_of += bool(reply and reply.answers)
        assert told_of > 20


def test_a_policy_holds_before_its_listing_is_out_and_the_one_before_if_that_fails(institution, islands, draw):
    random = np.random.default_rng(0)
    with institution() as owner:
        federation = owner.federations.create("f", now_ms()).id
        learnware = owner.add({islands[0]: draw(random, islands[0])})
        owner.publish(learnware, federation, SHOWN)
        request = MatchRequest(federation, islands[0].digest, draw(random, islands[0], 40).record())
        asker = Asker(PEER, "u")
        assert len(same(owner, asker, request).answers) == 1
        with suppress(ZeroDivisionError), owner.gate.policies.changed(federation, learnware, Policy(match=Rule())):
            assert same(owner, asker, request).answers == ()
            raise ZeroDivisionError
        assert len(same(owner, asker, request).answers) == 1
