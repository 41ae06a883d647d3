from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from atoll.node.p2p import gossip as gossip_module
from atoll.node.p2p.buckets import Buckets
from atoll.node.p2p.errors import ChannelClosed, P2PError, PeerTimeout
from libp2p.peer.id import ID

TOPIC = "atoll/1/reef/catalogue"


def test_message_crosses_a_chain_and_names_its_author(run, nodes, join):
    async def scenario():
        async with nodes(3) as (a, b, c):
            await join(a, b)
            await join(b, c)
            await a.gossip.publish(TOPIC, b"hello")
            assert await b.received.receive() == (a.name, b"hello")
            assert await c.received.receive() == (a.name, b"hello")
            await c.gossip.publish(TOPIC, b"marker")
            assert await a.received.receive() == (c.name, b"marker")  # and not its own hello before that
            assert a.gossip.audience(TOPIC) == {b.name}

    run(scenario)


def test_refused_message_is_not_passed_on_and_its_forwarder_blamed(run, nodes, join):
    async def scenario():
        async with nodes(3) as (a, b, c):
            await join(a, b)
            await join(b, c)
            b.verdict = False
            await a.gossip.publish(TOPIC, b"bad")
            while not b.blamed:
                await trio.lowlevel.checkpoint()
            b.verdict = True
            await a.gossip.publish(TOPIC, b"good")
            assert await c.received.receive() == (a.name, b"good")
            assert set(b.blamed) == {a.name}
            assert c.blamed == []

    run(scenario)


def test_failure_to_judge_blames_nobody(run, nodes, join, caplog):
    async def scenario():
        async with nodes(2) as (a, b):
            await join(a, b)
            b.verdict = ZeroDivisionError("our bug")
            await a.gossip.publish(TOPIC, b"one")
            while "ZeroDivisionError" not in caplog.text:
                await trio.lowlevel.checkpoint()
            b.verdict = True
            await a.gossip.publish(TOPIC, b"two")
            assert await b.received.receive() == (a.name, b"two")
            assert b.blamed == []

    run(scenario)


def test_burst_is_paced_and_all_of_it_arrives(run, nodes, join, monkeypatch):
    monkeypatch.setattr(gossip_module, "PACE", 0.02)

    async def scenario():
        async with nodes(2) as (a, b):
            await join(a, b)
            for number in range(60):  # twice what libp2p's queues hold
                await a.gossip.publish(TOPIC, b"%d" % number)
            assert [(await b.received.receive())[1] for _ in range(60)] == [b"%d" % n for n in range(60)]

    run(scenario)


def test_full_outbox_and_oversized_messages_are_refused(run, nodes, monkeypatch):
    monkeypatch.setattr(gossip_module, "OUTBOX_WAIT", 0.05)

    async def scenario():
        async with nodes(1) as (node,):
            await node.gossip.publish(TOPIC, b"x" * 65_536)
            with pytest.raises(P2PError):
                await node.gossip.publish(TOPIC, b"x" * 65_537)
            with suppress(PeerTimeout):
                for _ in range(300):
                    await node.gossip.publish(TOPIC, b"x")
            with pytest.raises(PeerTimeout):
                await node.gossip.publish(TOPIC, b"x")

    run(scenario)


def test_gossip_that_does_not_run_refuses_and_does_not_block_connections(run, hosts, make_node, address_of):
    async def scenario():
        async with hosts(2) as (first, second):
            node = make_node(first)
            with pytest.raises(ChannelClosed):
                await node.gossip.publish(TOPIC, b"x")
            for _ in range(2):  # it can be run again
                async with trio.open_nursery() as nursery:
                    await nursery.start(node.gossip.run)
                    await node.gossip.subscribe(TOPIC, node.accept)
                    nursery.cancel_scope.cancel()
            with pytest.raises(ChannelClosed):
                await node.gossip.subscribe(TOPIC, node.accept)
            await node.streams.connect(address_of(second), deadline=5)

    run(scenario)


def test_unsubscribed_topic_is_not_delivered(run, nodes, join):
    async def scenario():
        async with nodes(2) as (a, b):
            await join(a, b)
            await b.gossip.unsubscribe(TOPIC)
            while a.gossip.audience(TOPIC):
                await trio.lowlevel.checkpoint()
            await a.gossip.publish(TOPIC, b"unheard")
            await b.gossip.subscribe(TOPIC, b.accept)
            await a.gossip._pubsub.wait_for_subscription(ID.from_base58(b.name), TOPIC, timeout=10)

    run(scenario)


def test_peer_that_reconnects_takes_part_again(run, nodes, join, address_of):
    async def scenario():
        async with nodes(2) as (a, b):
            await join(a, b)
            await a.streams.disconnect(b.name)
            while a.name in b.streams.connected():
                await trio.lowlevel.checkpoint()
            await join(a, b)
            await a.gossip.publish(TOPIC, b"again")
            assert await b.received.receive() == (a.name, b"again")

    run(scenario)


def test_author_is_limited_in_rate_and_recovers():
    buckets = Buckets(rate=20, burst=100)
    assert sum(buckets.take("a", 0.0) for _ in range(500)) == 100
    assert sum(buckets.take("a", 1.0) for _ in range(500)) == 20
    assert buckets.take("b", 1.0)


def test_limits_of_forgotten_authors_take_no_memory():
    buckets = Buckets(rate=1, burst=1, keys=10)
    for number in range(1000):
        buckets.take(str(number), 0.0)
    assert len(buckets._level) == 10


def test_author_over_the_rate_is_not_heard(run, nodes, join, monkeypatch):
    monkeypatch.setattr(gossip_module, "PACE", 0.001)

    async def scenario():
        async with nodes(2) as (a, b):
            buckets = b.gossip._buckets = CountingBuckets(rate=0, burst=5)
            await join(a, b)
            for number in range(20):
                await a.gossip.publish(TOPIC, b"%d" % number)
            for number in range(5):
                assert await b.received.receive() == (a.name, b"%d" % number)
            while buckets.asked < 20:
                await trio.lowlevel.checkpoint()
            b.gossip._buckets = Buckets(rate=20, burst=100)
            await a.gossip.publish(TOPIC, b"last")
            assert await b.received.receive() == (a.name, b"last")

    run(scenario)


class CountingBuckets(Buckets):
    asked = 0

    def take(self, key, now):
        self.asked += 1
        return super().take(key, now)
