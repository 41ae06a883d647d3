"""A private federation stays private: asserted on every byte that an outsider, a former member, or a member of another
federation of the same node receives over its connections."""

import contextlib

import pytest
from atoll.engine.encoding import Array
from atoll.engine.errors import AtollError
from atoll.engine.islands import Island
from atoll.engine.specs import fit_rkme
from atoll.node.clock import now_ms
from atoll.node.p2p.exchange import ask
from atoll.protocol import ask as asking
from atoll.protocol import fetch, join, match, peers, predict, sync
from atoll.protocol.ask import AskRequest
from atoll.protocol.fetch import FetchRequest
from atoll.protocol.join import JoinRequest, RenewRequest, SucceedRequest
from atoll.protocol.listings import Offers
from atoll.protocol.match import MatchRequest
from atoll.protocol.membership import grant
from atoll.protocol.messages import Message, topic
from atoll.protocol.peers import PeersRequest
from atoll.protocol.predict import PredictRequest
from atoll.protocol.signing import Record
from atoll.protocol.succession import sign_succession
from atoll.protocol.sync import Compare, Entry, Kind, Offer, Pull, PullNotice
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

BOTH = Offers(disclose="members", predict="members", download="members")


def peer_of(running):
    return running.node.identity.peer


def secrets_of(running, federation, digits):
    """What must reach nobody outside, as bytes on the wire: of the owner ``running``."""
    raw, owner = bytes.fromhex(federation), running.node.identity.public
    listings = running.node.catalogue.of_owner(raw, owner)
    assert listings
    head = running.node.catalogue.log(raw, owner).head.record
    found = {
        "the id": raw,
        "its head": head.body,
        "the head's signature": head.signature,
        "an island": digits.island().digest,
        "its definition": digits.island().definition,
    }
    for number, record in enumerate(running.node.catalogue.records(raw, owner)):
        found |= {f"listing {number}": record.body, f"signature {number}": record.signature}
    return found | {f"learnware {n}": each.learnware_id for n, each in enumerate(listings)}


def leaked(got, secrets):
    return [name for name, secret in secrets.items() if secret in got or secret.hex().encode() in got]


async def pry(attacker, target, federation, learnware, island, rkme):
    """Every question of every protocol, with all that a former member knows."""
    raw, own = bytes.fromhex(federation), attacker.node.identity.public
    owner = target.node.identity.public
    rows = Array.of(rkme.points[:1])
    questions: list[tuple[str, Message]] = [
        (join.PROTOCOL, JoinRequest(raw, b"t" * 16, "x", ())), (join.PROTOCOL, JoinRequest(raw, b"", "x", ())),
        (join.PROTOCOL, RenewRequest(raw)), (peers.PROTOCOL, PeersRequest(raw)),
        (sync.PROTOCOL, Compare(raw, bytes(2048))), (sync.PROTOCOL, Pull(raw, owner, 0)),
        (sync.PROTOCOL, PullNotice(raw, Kind.DECREE, owner)),
        (sync.PROTOCOL, Offer(raw, (Entry(Kind.LOG, own, 2**50, 1, b"x"),))),
        (match.PROTOCOL, MatchRequest(raw, island, rkme.record())),
        (fetch.PROTOCOL, FetchRequest(raw, "island", island)),
        (fetch.PROTOCOL, FetchRequest(raw, "package", learnware)),
        (predict.PROTOCOL, PredictRequest(raw, learnware, island, rows)),
        (asking.PROTOCOL, AskRequest(raw, learnware, ("download",), "please", "u")),
    ]  # fmt: skip
    network, answered = attacker.node.network, []
    with contextlib.suppress(AtollError):
        await network._thread.call(network._gossip.subscribe, topic(raw), lambda author, data: True)
    for protocol, question in questions:
        with contextlib.suppress(AtollError):
            await network.dial(target.node.network.addresses[0])
        try:
            await network._thread.call(
                ask, network._streams, peer_of(target), protocol, question, Message, 1 << 20, 5.0
            )
            answered.append(type(question).__name__)
        except AtollError:
            continue
    return answered


@pytest.fixture
def rkme(digits):
    island = digits.island()
    return fit_rkme(island.transform(digits.of(0, 1)), 20, island.gamma)


async def test_an_outsider_gets_nothing_that_a_member_gets(
    federated, start, publish, changed, until, digits, received, rkme
):
    (north, south), federation = await federated("north", "south")
    (outsider,) = await start("outsider")
    with contextlib.suppress(AtollError):
        await outsider.node.network.dial(north.node.network.addresses[0])
    learnware = bytes.fromhex(await publish(north, federation, BOTH, 0, 1))
    await changed(south, lambda: len(south.node.catalogue.alive(now_ms())) == 1)
    await until(south, lambda: south.node.catalogue.islands() != [])

    answered = await pry(outsider, north, federation, learnware, digits.island().digest, rkme)

    secrets = secrets_of(north, federation, digits)
    assert answered == []
    assert received[peer_of(outsider)], "nothing was received: the test says nothing"
    assert leaked(received[peer_of(outsider)], secrets) == []
    assert set(leaked(received[peer_of(south)], secrets)) >= {
        "listing 0",
        "signature 0",
        "learnware 0",
        "its definition",
    }


async def test_a_revoked_member_gets_nothing_any_more(federated, publish, changed, digits, received, rkme):
    (north, south, former), federation = await federated("north", "south", "former")
    await publish(north, federation, BOTH, 0, 1)
    await changed(former, lambda: len(former.node.catalogue.alive(now_ms())) == 1)
    started = now_ms()
    await north.client.revoke(federation, peer_of(former))
    raw = bytes.fromhex(federation)
    await changed(former, lambda: not former.node.federations.standing(raw, former.node.identity.public, now_ms()))
    await changed(south, lambda: not south.node.federations.standing(raw, former.node.identity.public, now_ms()))
    assert now_ms() - started < 15_000
    received[peer_of(former)].clear()

    learnware = bytes.fromhex(await publish(south, federation, BOTH, 2, 3))
    await changed(north, lambda: len(north.node.catalogue.alive(now_ms())) == 2)
    answered = await pry(former, north, federation, learnware, digits.island().digest, rkme)
    answered += await pry(former, south, federation, learnware, digits.island().digest, rkme)

    assert answered == []
    secrets = secrets_of(south, federation, digits) | secrets_of(north, federation, digits)
    del secrets["the id"]  # the farewell names it: a former member has always known it
    assert received[peer_of(former)]
    assert leaked(received[peer_of(former)], secrets) == []
    assert learnware not in {
        each.learnware_id for each in former.node.catalogue.of_owner(raw, south.node.identity.public)
    }


async def test_a_node_in_two_federations_tells_neither_of_the_other(
    federated, start, publish, changed, until, digits, received, rkme
):
    (first, both), federation = await federated("first", "both")
    (other,) = await start("other")
    second = (await both.client.create_federation("second")).id
    await other.client.join((await both.client.invite(second)).invite)
    learnware = bytes.fromhex(await publish(first, federation, BOTH, 0, 1))
    await changed(both, lambda: len(both.node.catalogue.alive(now_ms())) == 1)
    await until(both, lambda: both.node.catalogue.islands() != [])
    rows = {f"c{n}": digits.values[:200, n + 20] for n in range(3)}
    island = Island.mint(rows)
    await both.client.add_island(island)
    own = bytes.fromhex(await publish(both, second, BOTH, 4, 5))
    await changed(other, lambda: len(other.node.catalogue.alive(now_ms())) == 1)

    answered = await pry(other, both, federation, learnware, digits.island().digest, rkme)

    secrets = secrets_of(first, federation, digits) | {
        "a member's key": first.node.identity.public,
        "a member's peer id": peer_of(first).encode(),
        "a member's name": b"first",
    }
    shared = {"an island", "its definition"}  # the second federation has a learnware in this island too
    assert answered == []
    assert own in received[peer_of(other)]
    assert leaked(received[peer_of(other)], {name: s for name, s in secrets.items() if name not in shared}) == []
    assert island.digest not in received[peer_of(other)]  # known to the node, used in no federation


async def test_who_gets_nothing_cannot_tell_an_admin_from_a_member_from_a_stranger(federated, start):
    (admin, member), federation = await federated("admin", "member")
    stranger, asker = await start("stranger", "asker")
    raw, network = bytes.fromhex(federation), asker.node.network
    heard = set()
    questions = [*(JoinRequest(raw, token, "x", ()) for token in (b"t" * 16, b"", b"t" * 600)), RenewRequest(raw)]
    questions += [SucceedRequest(raw, records) for records in ((), (NONSENSE,) * 3, succession(asker, raw))]
    for target in (admin, member, stranger):
        for question in questions:
            with contextlib.suppress(AtollError):
                await network.dial(target.node.network.addresses[0])
            with pytest.raises(AtollError) as refused:
                await network._thread.call(
                    ask, network._streams, peer_of(target), join.PROTOCOL, question, Message, 1 << 20, 5.0
                )
            heard.add((type(question), refused.value.code, refused.value.message))
    assert len(heard) == 3, heard


NONSENSE = Record(b"nonsense", bytes(64))


def succession(asker, federation):
    """Of a key that was never a member, to that of the asker; both have signed."""
    key, own = Ed25519PrivateKey.generate(), asker.node.identity
    public = key.public_key().public_bytes_raw()
    certificate = grant(key, federation, public, "", now_ms(), roles=("member",), max_listings=1)
    return sign_succession(
        key, own.key, federation=federation, owner=public, certificate=certificate, now=now_ms()
    ).records
