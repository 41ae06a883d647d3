"""What strangers and peers of other federations get to see of gossip, and what they can do to it."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
import trio
from atoll.node.p2p import pubsub as pubsub_module
from atoll.node.p2p.pubsub import content_id
from atoll.node.p2p.streams import Streams
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.host.exceptions import StreamFailure
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import PUBSUB_SIGNING_PREFIX

TOPIC = "atoll/1/reef/catalogue"
OTHER = "atoll/1/lagoon/catalogue"
MESHSUB = "/meshsub/1.2.0"


class Spy:
    """A peer that speaks as it likes and writes down every byte of gossip it is given."""

    def __init__(self, host):
        self.host = host
        self.name = str(host.get_id())
        self.streams = Streams(host)
        self.heard = bytearray()
        self.opened = trio.Event()
        self.more = trio.Event()
        for protocol in (MESHSUB, "/meshsub/1.1.0"):
            host.set_stream_handler(protocol, self._listen)

    async def _listen(self, stream):
        self.opened.set()
        while True:
            self.heard += await stream.read(65_536)
            self.more.set()
            self.more = trio.Event()

    async def hears(self, what):
        while what not in self.heard:
            await self.more.wait()

    async def speak(self, node, *rpcs):
        """A meshsub stream to ``node``, on which ``rpcs`` are sent."""
        stream = await self.host.new_stream(ID.from_base58(node.name), [MESHSUB])
        for rpc in rpcs:
            await stream.write(framed(rpc if isinstance(rpc, bytes) else rpc.SerializeToString()))
        return stream


def framed(data):
    prefix = bytearray()
    length = len(data)
    while length >= 0x80:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*prefix, length]) + data


def subscription(*topics):
    return rpc_pb2.RPC(subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=topic) for topic in topics])


def signed(spy, topic, data, seqno=b"12345678"):
    message = rpc_pb2.Message(data=data, topicIDs=[topic], from_id=spy.host.get_id().to_bytes(), seqno=seqno)
    key = spy.host.get_private_key()
    message.signature = key.sign(PUBSUB_SIGNING_PREFIX.encode() + message.SerializeToString())
    message.key = key.get_public_key().serialize()
    return message


async def ended(stream):
    """Wait until the other side has reset or closed ``stream``."""
    with pytest.raises(StreamError):
        await stream.read(1)


async def heartbeats(node, number):
    """Wait for some heartbeats, after which GRAFT and IHAVE have been sent."""
    cache = node.gossip._pubsub.router.mcache
    beat, shift = trio.Event(), cache.shift

    def noted():
        nonlocal beat
        shift()
        beat.set()
        beat = trio.Event()

    cache.shift = noted
    for _ in range(number):
        await beat.wait()
    cache.shift = shift


@pytest.fixture
def with_spy(nodes, hosts, join, address_of):
    """Two nodes that gossip with each other, and a spy that is connected to the first."""

    async def with_spy(scenario):
        async with nodes(2) as (a, b), hosts(1) as (host,):
            await join(a, b)
            spy = Spy(host)
            await spy.streams.connect(address_of(a.host), deadline=5)
            await scenario(a, b, spy)

    return with_spy


async def chatter(a, b, text):
    await a.gossip.publish(TOPIC, text)
    assert await b.received.receive() == (a.name, text)


def test_stranger_gets_no_stream_and_is_not_listened_to(run, with_spy, monkeypatch):
    monkeypatch.setattr(pubsub_module, "ARRIVAL", 0.1)

    async def scenario(a, b, spy):
        forged = rpc_pb2.RPC(publish=[signed(spy, TOPIC, b"from outside")])
        stream = await spy.speak(a, subscription(TOPIC), forged)
        await chatter(a, b, b"secret one")
        await ended(stream)  # it had its time to be admitted
        await heartbeats(a, 2)
        await chatter(a, b, b"secret two")
        assert not spy.opened.is_set()
        assert spy.heard == b""
        assert a.received.statistics().current_buffer_used == 0
        assert ID.from_base58(spy.name) not in a.gossip._pubsub._claims
        assert a.gossip.audience(TOPIC) == {b.name}

    run(with_spy, scenario)


def test_peer_of_another_federation_sees_not_one_byte_of_the_topic(run, with_spy):
    async def scenario(a, b, spy):
        me = ID.from_base58(spy.name)
        a.admitted.add(spy.name)
        a.members.add((OTHER, spy.name))
        await a.gossip.subscribe(OTHER, a.accept)
        await a.gossip.refresh(spy.name)
        control = rpc_pb2.ControlMessage()
        control.graft.add(topicID=TOPIC)
        control.iwant.add(messageIDs=[content_id(rpc_pb2.Message(topicIDs=[TOPIC], data=b"secret"))])
        await chatter(a, b, b"secret")
        forged = signed(spy, TOPIC, b"from outside")
        await spy.speak(a, subscription(TOPIC, OTHER), rpc_pb2.RPC(control=control, publish=[forged]))
        await spy.hears(OTHER.encode())
        await a.gossip.publish(OTHER, b"for all of lagoon")
        await spy.hears(b"for all of lagoon")
        await chatter(a, b, b"secret too")
        await heartbeats(a, 2)
        await spy.speak(a, rpc_pb2.RPC(control=control))
        await heartbeats(a, 1)
        assert b"secret" not in spy.heard
        assert b"reef" not in spy.heard
        assert me not in a.gossip._pubsub.router.mesh[TOPIC]
        assert a.gossip.audience(TOPIC) == {b.name}
        assert a.received.statistics().current_buffer_used == 0
        assert b.received.statistics().current_buffer_used == 0

    run(with_spy, scenario)


def test_withheld_subscription_counts_from_the_day_of_membership(run, with_spy):
    async def scenario(a, b, spy):
        a.admitted.add(spy.name)
        await a.gossip.refresh(spy.name)
        await spy.speak(a, subscription(TOPIC))
        while not a.gossip._pubsub._claims.get(ID.from_base58(spy.name)):
            await trio.lowlevel.checkpoint()
        assert a.gossip.audience(TOPIC) == {b.name}
        await a.trust(spy)
        assert a.gossip.audience(TOPIC) == {b.name, spy.name}
        await spy.hears(TOPIC.encode())
        await chatter(a, b, b"welcome")
        await spy.hears(b"welcome")

    run(with_spy, scenario)


def test_revoked_member_hears_no_more(run, with_spy):
    async def scenario(a, b, spy):
        await a.trust(spy)
        await spy.speak(a, subscription(TOPIC))
        await a.gossip._pubsub.wait_for_mesh(ID.from_base58(spy.name), TOPIC)
        await chatter(a, b, b"before")
        await spy.hears(b"before")
        a.members.discard((TOPIC, spy.name))  # from here on, also before anybody calls refresh
        await chatter(a, b, b"after")
        await a.gossip.refresh(spy.name)
        assert ID.from_base58(spy.name) not in a.gossip._pubsub.router.mesh[TOPIC]
        await heartbeats(a, 2)
        assert b"after" not in spy.heard

    run(with_spy, scenario)


def test_expelled_peer_is_cut_off_and_not_dialled_again(run, with_spy):
    async def scenario(a, b, spy):
        await a.trust(spy)
        stream = await spy.speak(a, subscription(TOPIC))
        await a.gossip._pubsub.wait_for_mesh(ID.from_base58(spy.name), TOPIC)
        a.admitted.discard(spy.name)
        await a.gossip.expel(spy.name)
        await ended(stream)
        size = len(spy.heard)
        await chatter(a, b, b"after")
        await heartbeats(a, 1)
        assert len(spy.heard) == size
        assert ID.from_base58(spy.name) not in a.gossip._pubsub.peers

    run(with_spy, scenario)


def test_stream_that_comes_before_the_hello_waits_for_admission(run, with_spy):
    async def scenario(a, b, spy):
        await spy.speak(a, subscription(TOPIC))
        while ID.from_base58(spy.name) not in a.gossip._pubsub._arrivals:
            await trio.lowlevel.checkpoint()
        await a.trust(spy)
        await a.gossip._pubsub.wait_for_subscription(ID.from_base58(spy.name), TOPIC)

    run(with_spy, scenario)


def bad_key(spy):
    message = signed(spy, TOPIC, b"malformed key")
    message.from_id = b"\x12\x20" + b"k" * 32  # a hash, so that the key must be looked at
    message.key = b"\xff\xff not a key"
    return rpc_pb2.RPC(publish=[message]).SerializeToString()


def bad_signature(spy):
    message = signed(spy, TOPIC, b"tampered")
    message.data = b"tampered with"
    return rpc_pb2.RPC(publish=[message]).SerializeToString()


def other_author(spy):
    message = signed(spy, TOPIC, b"not mine")
    message.from_id = ID.from_pubkey(create_new_key_pair(b"z" * 32).public_key).to_bytes()
    return rpc_pb2.RPC(publish=[message]).SerializeToString()


def huge_message(spy):
    return rpc_pb2.RPC(publish=[signed(spy, TOPIC, b"x" * 100_000)]).SerializeToString()


def many_topics(_spy):
    return subscription(*map(str, range(5000))).SerializeToString()


def broken_text(_spy):
    return b"\x0a\x06\x08\x01\x12\x02\xff\xfe"  # a topic that is not UTF-8


@pytest.mark.parametrize("attack", [bad_key, bad_signature, other_author, huge_message, many_topics, broken_text])
def test_malformed_gossip_is_blamed_and_the_node_goes_on(run, with_spy, attack):
    async def scenario(a, b, spy):
        await a.trust(spy)
        await spy.speak(a, attack(spy))
        while spy.name not in a.blamed:
            await trio.lowlevel.checkpoint()
        await chatter(a, b, b"alive")
        assert b.blamed == []
        assert spy.name not in b.gossip.audience(TOPIC)

    run(with_spy, scenario)


def test_random_bytes_on_meshsub_leave_the_node_gossiping(run, with_spy):
    async def scenario(a, b, spy):
        await a.trust(spy)
        dice = random.Random(3)
        for number in range(60):
            junk = dice.randbytes(dice.randrange(1, 400))
            stream = await spy.host.new_stream(ID.from_base58(a.name), [MESHSUB])
            await stream.write(framed(junk) if number % 2 else junk)
            await stream.reset()
        await chatter(a, b, b"alive")
        peer = await spy.streams.connect(f"{a.host.get_addrs()[0]}", deadline=5)
        assert peer == a.name

    run(with_spy, scenario)


def test_mutated_control_messages_leave_the_node_gossiping(run, with_spy):
    async def scenario(a, b, spy):
        await a.trust(spy)
        control = rpc_pb2.ControlMessage()
        control.graft.add(topicID=TOPIC)
        control.prune.add(topicID=TOPIC, backoff=2**63).peers.add(peerID=b"\x00", signedPeerRecord=b"junk")
        control.ihave.add(topicID=TOPIC, messageIDs=[b"\x00" * 32] * 2000)
        control.iwant.add(messageIDs=[b"zz"] * 2000)
        control.idontwant.add(messageIDs=[b""] * 2000)
        good = rpc_pb2.RPC(control=control, publish=[signed(spy, TOPIC, b"x" * 50)]).SerializeToString()
        dice = random.Random(5)
        for _ in range(40):
            mutant = bytearray(good[: dice.randrange(200, 1000)])
            for _ in range(5):
                mutant[dice.randrange(len(mutant))] = dice.randrange(256)
            stream = await spy.speak(a, bytes(mutant), good)
            await stream.close()
        await heartbeats(a, 1)
        await chatter(a, b, b"alive")

    run(with_spy, scenario)


def test_copies_of_one_message_are_judged_once(run, with_spy):
    async def scenario(a, b, spy):
        async def thorough(author, data):
            for _ in range(50):  # long enough for the copies to arrive
                await trio.lowlevel.checkpoint()
            return await a.accept(author, data)

        await a.trust(spy)
        a.gossip._accepts[TOPIC] = thorough
        message = signed(spy, TOPIC, b"once")
        await spy.speak(a, rpc_pb2.RPC(publish=[message] * 20))
        assert await a.received.receive() == (spy.name, b"once")
        await spy.speak(a, rpc_pb2.RPC(publish=[signed(spy, TOPIC, b"once", b"87654321")]))
        await spy.speak(a, rpc_pb2.RPC(publish=[signed(spy, TOPIC, b"next")]))
        assert await a.received.receive() == (spy.name, b"next")

    run(with_spy, scenario)


def test_own_message_that_comes_back_late_is_not_taken_for_news(run, with_spy):
    async def scenario(a, b, spy):
        await a.trust(spy)
        await spy.speak(a, subscription(TOPIC))
        await a.gossip._pubsub.wait_for_mesh(ID.from_base58(spy.name), TOPIC)
        sent = []
        publish = a.gossip._pubsub.router.publish

        async def noted(forwarder, message):
            sent.append(message)
            await publish(forwarder, message)

        a.gossip._pubsub.router.publish = noted
        await chatter(a, b, b"mine")
        a.gossip._pubsub.seen_messages.cache.clear()  # as two minutes later
        await spy.speak(a, rpc_pb2.RPC(publish=sent), rpc_pb2.RPC(publish=[signed(spy, TOPIC, b"next")]))
        assert await a.received.receive() == (spy.name, b"next")
        assert a.blamed == []

    run(with_spy, scenario)


def test_one_peer_cannot_hold_many_gossip_streams(run, with_spy):
    async def scenario(a, b, spy):
        await a.trust(spy)
        for _ in range(pubsub_module.INBOUND_STREAMS):
            await spy.speak(a, subscription(TOPIC))
        while len(a.gossip._pubsub._inbound.get(ID.from_base58(spy.name), ())) < pubsub_module.INBOUND_STREAMS:
            await trio.lowlevel.checkpoint()
        with suppress(StreamFailure):
            await ended(await spy.speak(a))
        await chatter(a, b, b"alive")

    run(with_spy, scenario)
