"""Learnwares whose RKME is not disclosed: their owner answers about a stand-in, and only queries that are no probes."""

import io

import numpy as np
import pytest
from atoll.engine.errors import DimensionMismatch, QueryTooNarrow
from atoll.engine.matching import SketchIndex
from atoll.engine.matching.oracle import told
from atoll.engine.packages import open_package
from atoll.engine.specs import Rkme, fit_rkme, mmd2, sketch
from atoll.engine.specs.stand_in import stand_in
from atoll.node.clock import now_ms
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Offers
from atoll.protocol.match import TOLD_BAND, AskedSketch, MatchRequest
from atoll.protocol.policy import Asker

HIDDEN, SHOWN = Offers(), Offers(disclose="members")


def asked(digits, *classes):
    return fit_rkme(digits.island().transform(digits.of(*classes)), gamma=digits.island().gamma)


def probe(digits):
    island = digits.island()
    return Rkme(np.zeros((1, island.dimension), np.float32), np.ones(1, np.float32), island.gamma, 1)


def match(running, federation, digits, query):
    return reply_to(running, federation, digits, rkme=query.record()).answers


def reply_to(running, federation, digits, **asked):
    request = MatchRequest(bytes.fromhex(federation), digits.island().digest, **asked)
    return running.node.owner.match(Asker(peer_id(b"p" * 32), "u"), request)


def of_package(running, digits, *classes):
    package = digits.package(running.node.identity.peer, digits.island(), *classes)
    with open_package(io.BytesIO(package)) as opened:
        ((rkme, _),) = opened.specifications().values()
    return rkme


async def test_answers_and_listings_are_of_the_stand_in(federated, publish, digits):
    (north,), federation = await federated("north")
    learnware = bytes.fromhex(await publish(north, federation, HIDDEN, 0, 1, 2))
    query, other = asked(digits, 0, 1, 4), stand_in(of_package(north, digits, 0, 1, 2))
    (answer,) = match(north, federation, digits, query)
    (listing,) = north.node.publisher.listed_in(learnware)
    (summary,) = listing.specifications

    assert (answer.mmd2, answer.rkme, answer.salt) == (told(mmd2(query, other)), None, None)
    assert summary.sketch == sketch(other, digits.island()).values.tobytes()
    assert answer.norm2 == summary.norm2 == other.norm2


async def test_what_is_disclosed_is_answered_exactly_and_to_any_query(federated, publish, digits):
    (north,), federation = await federated("north")
    await publish(north, federation, SHOWN, 0, 1, 2)
    await publish(north, federation, HIDDEN, 3, 4)
    rkme = of_package(north, digits, 0, 1, 2)

    (answer,) = match(north, federation, digits, probe(digits))
    assert answer.mmd2 == pytest.approx(mmd2(probe(digits), rkme), rel=1e-9)
    assert Rkme.from_record(answer.rkme).to_bytes() == rkme.to_bytes()
    near, far = match(north, federation, digits, asked(digits, 3, 4))
    assert near.rkme is None
    assert near.mmd2 < far.mmd2


async def test_a_probe_about_nothing_else_is_refused(federated, publish, digits):
    (north,), federation = await federated("north")
    await publish(north, federation, HIDDEN, 0, 1, 2)
    with pytest.raises(QueryTooNarrow, match="at least 30 points"):
        match(north, federation, digits, probe(digits))


async def test_a_federation_with_nothing_to_match_refuses_no_query(federated, digits):
    (north,), federation = await federated("north")
    await north.client.add_island(digits.island())
    assert match(north, federation, digits, probe(digits)) == ()


async def test_a_hit_says_how_well_its_distance_is_known(federated, publish, changed, until, digits):
    (north, south), federation = await federated("north", "south")
    hidden = await publish(north, federation, HIDDEN, 0, 1, 2)
    shown = await publish(north, federation, SHOWN, 3, 4)
    await changed(south, lambda: len(south.node.catalogue.alive(now_ms())) == 2)
    await until(south, lambda: south.node.catalogue.islands() != [])
    found = await south.client.search_rows(digits.of(0, 1, 2, 3, 4), deadline_ms=10_000)
    assert {hit.learnware_id: hit.band for hit in found.hits} == {hidden: TOLD_BAND, shown: 0.0}
    assert not any(hit.suspect for hit in found.hits)


async def test_what_is_wanted_is_answered_beyond_the_limit_and_nothing_else_is(federated, publish, digits):
    (north,), federation = await federated("north")
    near = bytes.fromhex(await publish(north, federation, HIDDEN, 0, 1))
    far = bytes.fromhex(await publish(north, federation, SHOWN, 5, 6, 7))
    closed = bytes.fromhex(await publish(north, federation, Offers(match="nobody"), 8, 9))
    query = asked(digits, 0, 1)
    everything = match(north, federation, digits, query)
    assert [each.learnware_id for each in everything] == [near, far]

    wanted = (near, far, closed, far, b"?" * 32)
    reply = reply_to(north, federation, digits, rkme=query.record(), limit=1, wanted=wanted)
    assert (*reply.answers, *reply.wanted) == everything
    asker, usage = Asker(peer_id(b"p" * 32), "u"), north.node.gate.usage
    assert [usage.used(act, asker, bytes.fromhex(federation), far, now_ms()) for act in ("match", "disclose")] == [2, 2]
    assert reply_to(north, federation, digits, rkme=query.record(), limit=2, wanted=wanted).wanted == ()


async def test_a_sketch_is_told_what_the_listings_say_and_gets_what_is_disclosed(federated, publish, digits):
    (north,), federation = await federated("north")
    hidden = await publish(north, federation, HIDDEN, 0, 1, 2)
    shown = await publish(north, federation, SHOWN, 3, 4)
    island, query = digits.island(), asked(digits, 0, 1, 4)
    short = sketch(query, island)
    reply = reply_to(north, federation, digits, sketch=AskedSketch.of(short))

    own = north.node.identity.public
    listings = {each.learnware_id.hex(): each for each in north.node.catalogue.of_owner(bytes.fromhex(federation), own)}
    listed = SketchIndex({id_: each.specifications[0].to_sketch() for id_, each in listings.items()})
    ids, distances = listed.nearest(short)
    assert [(each.learnware_id.hex(), each.mmd2) for each in reply.answers] == list(zip(ids, distances, strict=True))
    found = {each.learnware_id.hex(): each for each in reply.answers}
    assert (found[hidden].rkme, found[hidden].salt) == (None, None)
    assert found[hidden].norm2 == listings[hidden].specifications[0].norm2
    assert Rkme.from_record(found[shown].rkme).to_bytes() == of_package(north, digits, 3, 4).to_bytes()


async def test_even_a_probe_may_ask_by_sketch(federated, publish, digits):
    (north,), federation = await federated("north")
    await publish(north, federation, HIDDEN, 0, 1, 2)
    short = sketch(probe(digits), digits.island())
    (answer,) = reply_to(north, federation, digits, sketch=AskedSketch.of(short)).answers
    assert answer.rkme is None


async def test_a_sketch_of_a_wrong_length_is_refused(federated, publish, digits):
    (north,), federation = await federated("north")
    await publish(north, federation, HIDDEN, 0, 1, 2)
    with pytest.raises(DimensionMismatch, match="expected 512"):
        reply_to(north, federation, digits, sketch=AskedSketch(bytes(100)))
