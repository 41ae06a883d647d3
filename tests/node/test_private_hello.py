"""What hello tells somebody who knows a federation's id and is no member of it, byte by byte: nothing."""

import contextlib
import secrets

from atoll.engine.errors import AtollError
from atoll.node.clock import now_ms
from atoll.node.p2p.exchange import request
from atoll.protocol import hello
from atoll.protocol.hello import VERSIONS, Done, Hello, Proof, Welcome, hello_tag, welcome_tag
from atoll.protocol.ids import public_key


async def say_hello(asker, target, federation: bytes) -> Done:
    """The whole of hello with the tag of a federation, whether the asker is in it or not; what it has is shown."""
    network, own, peer = asker.node.network, asker.node.identity.peer, target.node.identity.peer
    with contextlib.suppress(AtollError):
        await network.dial(target.node.network.addresses[0])
    nonce = secrets.token_bytes(16)
    greeting = Hello(VERSIONS, now_ms(), nonce, (hello_tag(federation, nonce, own, peer),), "x", ())
    answer = welcome_tag(federation, nonce, own, peer)

    async def converse():
        async with network._streams.open(peer, hello.PROTOCOL, deadline=5.0) as channel:
            welcome = await request(channel, greeting, Welcome, limit=1 << 18)
            assert welcome.tags == (answer,)
            own_certificates = {}
            if federation in asker.node.federations.ids():
                own_certificates[answer.hex()] = asker.node.federations.certificate_of(federation, public_key(own))
            return await request(channel, Proof(own_certificates), Done, limit=1 << 18)

    return await network._thread.call(converse)


def told(received, asker, target, federation: bytes) -> list[str]:
    """What of a member's certificate the asker has received."""
    record = target.node.federations.certificate_of(federation, target.node.identity.public)
    marks = {"the id": federation, "the certificate": record.body, "its signature": record.signature}
    got = received[asker.node.identity.peer]
    return [name for name, mark in marks.items() if mark in got or mark.hex().encode() in got]


async def test_a_member_is_shown_the_certificate_of_a_member(federated, received):
    (north, south), federation = await federated("north", "south")
    await say_hello(south, north, bytes.fromhex(federation))
    assert told(received, south, north, bytes.fromhex(federation)) == ["the id", "the certificate", "its signature"]


async def test_who_only_knows_the_id_is_shown_no_certificate(federated, start, received):
    (north, _), federation = await federated("north", "south")
    (outsider,) = await start("outsider")
    assert (await say_hello(outsider, north, bytes.fromhex(federation))).certificates == {}
    assert received[outsider.node.identity.peer], "nothing was received: the test says nothing"
    assert told(received, outsider, north, bytes.fromhex(federation)) == []


async def test_a_revoked_member_is_shown_no_certificate_any_more(federated, changed, received):
    (north, _, former), federation = await federated("north", "south", "former")
    raw = bytes.fromhex(federation)
    await north.client.revoke(federation, former.node.identity.peer)
    await changed(former, lambda: not former.node.federations.standing(raw, former.node.identity.public, now_ms()))
    received[former.node.identity.peer].clear()
    assert (await say_hello(former, north, raw)).certificates == {}
    assert told(received, former, north, raw) == []


async def test_a_member_that_was_invited_again_is_let_in_by_who_still_takes_it_for_revoked(federated, changed, until):
    (north, south, former), federation = await federated("north", "south", "former")
    raw, who = bytes.fromhex(federation), former.node.identity
    await north.client.revoke(federation, who.peer)
    await changed(south, lambda: not south.node.federations.standing(raw, who.public, now_ms()))
    await changed(former, lambda: not former.node.federations.standing(raw, who.public, now_ms()))

    await south.client.add_peer_rule("deny", who.peer)  # so that south hears nothing of it
    await former.client.join((await north.client.invite(federation)).invite)
    await south.client.remove_peer_rule("deny", who.peer)
    await south.node.network.dial(former.node.network.addresses[0])

    await until(south, lambda: raw in south.node.peers.shared(who.peer))
    await until(former, lambda: raw in former.node.peers.shared(south.node.identity.peer))
