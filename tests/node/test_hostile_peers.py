"""Garbage on every way into a live node: it goes on serving, and notes who misbehaved."""

import asyncio
import contextlib
import random

import pytest
from atoll.engine.errors import AtollError
from atoll.node.clock import now_ms
from atoll.node.p2p.errors import P2PError
from atoll.node.p2p.gatekeeper import OFFENCES
from atoll.protocol import fetch, hello, join, match, peers, predict, sync
from atoll.protocol.gossip import Announcement
from atoll.protocol.listings import Offers
from atoll.protocol.messages import encode, topic

PROTOCOLS = (hello, join, peers, sync, match, fetch, predict)


async def assert_serves(nodes, federation, publish, changed):
    """The attacked node still publishes to the other, and answers over HTTP."""
    victim, other = nodes
    before = len(await other.client.catalogue())
    await publish(victim, federation, Offers(), 0, 1)
    await changed(other, lambda: sum(1 for _ in other.node.catalogue.alive(now_ms())) > before)
    assert (await victim.client.node()).peer_id == victim.node.identity.peer


async def test_random_bytes_on_the_tcp_port(federated, publish, changed):
    nodes, federation = await federated("victim", "other")
    ip, port = nodes[0].node.network.addresses[0].split("/")[2:5:2]
    source = random.Random(1)
    for size in (0, 1, 19, 20, 100, 5000, 100_000):
        _, writer = await asyncio.open_connection(ip, int(port))
        writer.write(source.randbytes(size))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()
    await assert_serves(nodes, federation, publish, changed)


async def test_garbage_from_a_member_on_every_stream_protocol_gets_it_cut_off(federated, publish, changed, until):
    (victim, attacker, other), federation = await federated("victim", "attacker", "other")
    source = random.Random(2)
    target, network = victim.node.identity.peer, attacker.node.network

    async def attack(protocol: str, frame: bytes) -> None:
        async with network._streams.open(target, protocol, deadline=5.0) as channel:
            await channel.send(frame)
            await channel.receive(1 << 20)

    for size in (1, 64, 4096, 0):
        for module in PROTOCOLS:
            with pytest.raises(P2PError):
                await network._thread.call(attack, module.PROTOCOL, source.randbytes(size))

    def state():
        return victim.node.peers.get(attacker.node.identity.peer)

    await until(victim, lambda: state().state == "refused" and not state().shared)
    assert state().misbehaved > OFFENCES
    assert "cut off" in state().why
    with pytest.raises(AtollError):
        await network.dial(victim.node.network.addresses[0])
    assert not victim.node.peers.admitted(attacker.node.identity.peer)
    await assert_serves([victim, other], federation, publish, changed)


async def test_garbage_from_a_member_on_the_gossip_topic(federated, publish, changed):
    nodes, federation = await federated("victim", "other")
    attacker = nodes[1]
    source = random.Random(3)
    name = topic(bytes.fromhex(federation))
    for size in (0, 1, 100, 10_000):
        gossip = attacker.node.network._gossip
        await attacker.node.network._thread.call(gossip.publish, name, source.randbytes(size))
    await assert_serves(nodes, federation, publish, changed)


async def test_a_forged_listing_never_enters_a_catalogue(federated, publish, changed):
    (victim, attacker), federation = await federated("victim", "other")
    learnware = await publish(attacker, federation, Offers(), 0, 1)
    fed = bytes.fromhex(federation)

    def listed(running):
        return running.node.catalogue.of_owner(fed, attacker.node.identity.public)

    log = attacker.node.catalogue.log(fed, attacker.node.identity.public)
    await changed(victim, lambda: listed(victim) == listed(attacker) != [])
    assert bytes.fromhex(learnware) in log.lines
    (record,) = attacker.node.catalogue.records(fed, attacker.node.identity.public)
    forged = type(record)(record.body.replace(b"Digits", b"Forged"), record.signature)
    certificate = attacker.node.federations.certificate_of(fed, attacker.node.identity.public)
    head = type(log.head.record)(log.head.record.body[:-1] + b"\0", log.head.record.signature)

    message = encode(Announcement(fed, head, certificate, (forged,)))
    accepted = await victim.node.network._thread.call(
        victim.node.network._replication.accept, fed, attacker.node.identity.peer, message
    )

    assert not accepted
    assert [listing.name for listing in await victim.client.catalogue()] == ["Digits 0 1"]
