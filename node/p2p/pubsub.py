"""Pubsub that a stranger can neither end nor overhear; the stock one of libp2p 0.8.1 allows both.

Promises: to a peer that is not admitted no stream is opened and nothing is sent, and what it sends is not
read; to and from a peer that is no member of a topic nothing passes that names or belongs to the topic. Both
are asked again for every RPC, where bytes leave (``write_msg``) and where they enter (``_read``).
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio
from atoll.node import journal
from atoll.node.p2p.errors import ChannelClosed, ProtocolViolation
from atoll.node.p2p.host import quiet_reset
from atoll.node.p2p.streams import Channel
from google.protobuf.message import DecodeError
from libp2p.abc import IHost, INetStream, IPubsubRouter
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.validators import signature_validator

log = logging.getLogger("atoll.p2p")

MAX_MESSAGE = 64 * 1024  # bytes of one message
MAX_RPC = 1024 * 1024  # bytes of one RPC, the limit of other implementations too
MAX_CLAIMS = 256  # topics a peer may say it subscribes to, and entries of one kind in one RPC
MAX_TOPIC = 256  # characters of a topic
MAX_WANTED = 64  # messages asked for in one RPC
INBOUND_STREAMS = 4  # of one peer
ARRIVAL = 10.0  # seconds a stream waits for its peer to be admitted: hello may be under way
OPENING = 15.0
WRITING = 15.0
AT_ONCE = 16  # messages of one stream judged at the same time

Judge = Callable[[str, str, str, bytes], Awaitable[bool]]


@dataclass(frozen=True)
class Gate:
    """Who takes part. ``member`` is given topic and peer; ``report`` is told of a peer and what it did."""

    admitted: Callable[[str], bool]
    member: Callable[[str, str], bool]
    report: Callable[[str, str], None]

    def allows(self, topic: str, peer: str) -> bool:
        return self.admitted(peer) and self.member(topic, peer)


class GatedPubsub(Pubsub):  # type: ignore[misc]
    """``judge(topic, author, forwarder, data)`` decides on every message of others; it must not raise."""

    def __init__(self, host: IHost, router: IPubsubRouter, gate: Gate, judge: Judge) -> None:
        super().__init__(
            host,
            router,
            strict_signing=True,
            msg_id_constructor=content_id,
            max_subscriptions_per_peer=MAX_CLAIMS,
        )
        self.counter = time.time_ns()  # the stock start in seconds repeats numbers after a quick restart
        self._gate = gate
        self._judge = judge
        self._claims: dict[ID, set[str]] = {}  # what peers say they subscribe to, allowed or not
        self._announced: dict[ID, set[str]] = {}  # our topics that a peer was told
        self._arrivals: dict[ID, trio.Event] = {}
        self._inbound: dict[ID, set[INetStream]] = {}
        self._opening: set[ID] = set()
        self._judging: set[tuple[bytes, bytes]] = set()

    async def refresh(self, peer: ID) -> None:
        """Act on what the gate now says about ``peer``."""
        if not self._gate.admitted(str(peer)):
            await self.expel(peer)
            return
        if peer in self._arrivals:
            self._arrivals.pop(peer).set()
        self._apply_claims(peer)
        if peer in self.peers:
            self._announce(peer)
        else:
            await self._handle_new_peer_with_retry(peer, OPENING)

    async def expel(self, peer: ID) -> None:
        """End both streams and forget what the peer said. Call it after the gate has closed."""
        self._claims.pop(peer, None)
        self._handle_dead_peer(peer)
        for stream in list(self._inbound.get(peer, ())):
            await quiet_reset(stream)

    # Streams

    async def _handle_new_peer(self, peer: ID) -> None:
        idle = peer not in self.peers and peer not in self._opening  # else a second queue replaces the first
        if not (idle and self._peer_is_connected(peer) and self._gate.admitted(str(peer))):
            return
        self._opening.add(peer)
        try:
            with trio.fail_after(OPENING):
                await super()._handle_new_peer(peer)
        finally:
            self._opening.discard(peer)
        if peer in self.peers:
            await self.refresh(peer)

    def get_hello_packet(self) -> rpc_pb2.RPC:
        """Empty: the stock one tells everybody everything; subscriptions follow peer by peer."""
        return rpc_pb2.RPC()

    async def stream_handler(self, stream: INetStream) -> None:
        peer = stream.muxed_conn.peer_id
        streams = self._inbound.setdefault(peer, set())
        if len(streams) >= INBOUND_STREAMS:
            await quiet_reset(stream)
            return
        streams.add(stream)
        try:
            if await self._arrived(peer):
                async with trio.open_nursery() as nursery:
                    await self._read(stream, peer, nursery)
        finally:
            streams.discard(stream)
            if not streams:
                self._inbound.pop(peer, None)
            await quiet_reset(stream)

    async def _arrived(self, peer: ID) -> bool:
        if not self._gate.admitted(str(peer)):
            with trio.move_on_after(ARRIVAL):
                await self._arrivals.setdefault(peer, trio.Event()).wait()
        return self._gate.admitted(str(peer))

    def _handle_dead_peer(self, peer: ID) -> None:
        stream = self.peers.get(peer)
        connected = self._peer_is_connected(peer)
        super()._handle_dead_peer(peer)
        self._announced.pop(peer, None)
        if connected and stream is not None and self.manager.is_running:
            self.manager.run_task(quiet_reset, stream)  # the stock one leaves it open
        if not connected:
            self._claims.pop(peer, None)
            self._arrivals.pop(peer, None)

    # Subscriptions

    def handle_subscription(self, origin: ID, subscription: rpc_pb2.RPC.SubOpts) -> None:
        topic = subscription.topicid
        claims = self._claims.setdefault(origin, set())
        if not subscription.subscribe:
            claims.discard(topic)
            self._withdraw(origin, topic)
            return
        if len(claims) >= MAX_CLAIMS:
            raise ProtocolViolation(f"more than {MAX_CLAIMS} topics")
        claims.add(topic)
        if self._gate.allows(topic, str(origin)):
            super().handle_subscription(origin, subscription)

    def _apply_claims(self, peer: ID) -> None:
        for topic in list(self._claims.get(peer, ())):
            if self._gate.allows(topic, str(peer)):
                super().handle_subscription(peer, rpc_pb2.RPC.SubOpts(subscribe=True, topicid=topic))
        for table in (self.peer_topics, self.router.mesh, self.router.fanout):
            for topic in [topic for topic, peers in table.items() if peer in peers]:
                if not self._gate.allows(topic, str(peer)):
                    self._withdraw(peer, topic)

    def _withdraw(self, peer: ID, topic: str) -> None:
        self._forget_subscription(peer, topic)
        for table in (self.router.mesh, self.router.fanout):
            if topic in table:
                table[topic].discard(peer)

    def _announce(self, peer: ID) -> None:
        queue = self.peer_queues.get(peer)
        allowed = {topic for topic in self.topic_ids if self._gate.allows(topic, str(peer))}
        known = self._announced.get(peer, set())
        for topic in allowed ^ known:
            packet, entry = self._build_announce_rpc(topic, topic in allowed)
            if queue is not None:
                self._enqueue_or_retry_announce(peer, queue, packet, entry)

    # Outbound

    async def write_msg(self, stream: INetStream, rpc_msg: rpc_pb2.RPC) -> bool:
        peer = stream.muxed_conn.peer_id
        permitted = self._permitted(peer, rpc_msg)
        if not permitted.ByteSize():
            return True
        with trio.fail_after(WRITING):
            written: bool = await super().write_msg(stream, permitted)
        known = self._announced.setdefault(peer, set()) if written else set()
        for entry in permitted.subscriptions:
            (known.add if entry.subscribe else known.discard)(entry.topicid)
        return written

    def _permitted(self, peer: ID, rpc: rpc_pb2.RPC) -> rpc_pb2.RPC:
        """What of an outbound RPC may reach ``peer``; libp2p itself mixes up topics of different peers."""
        out = rpc_pb2.RPC()
        if not self._gate.admitted(str(peer)):
            return out
        known = self._announced.get(peer, set())
        out.publish.extend(message for message in rpc.publish if self._concerns(message, peer))
        out.subscriptions.extend(
            entry
            for entry in rpc.subscriptions
            if self._gate.allows(entry.topicid, str(peer)) or (not entry.subscribe and entry.topicid in known)
        )
        self._copy_control(peer, rpc.control, out.control)
        for entry in rpc.control.idontwant:
            ids = [mid for mid in entry.messageIDs if self._concerns(self.router.mcache.get(mid), peer)]
            if ids:
                out.control.idontwant.add(messageIDs=ids)
        out.control.iwant.extend(rpc.control.iwant)
        if not out.control.ByteSize():
            out.ClearField("control")
        return out

    def _copy_control(self, peer: ID, control: rpc_pb2.ControlMessage, out: rpc_pb2.ControlMessage) -> None:
        for kind in ("graft", "prune", "ihave"):
            entries = getattr(control, kind)[:MAX_CLAIMS]
            getattr(out, kind).extend(e for e in entries if self._gate.allows(e.topicID, str(peer)))

    def _concerns(self, message: rpc_pb2.Message | None, peer: ID) -> bool:
        if message is None or len(message.topicIDs) != 1:
            return False
        return self._gate.allows(message.topicIDs[0], str(peer))

    # Inbound

    async def _read(self, stream: INetStream, peer: ID, nursery: trio.Nursery) -> None:
        channel = Channel(stream, deadline=math.inf)  # silence is no fault
        slots = trio.Semaphore(AT_ONCE)
        try:
            while self.manager.is_running:
                frame = await channel.receive(MAX_RPC)
                if not self._gate.admitted(channel.peer):
                    return
                rpc = self._accepted(peer, frame)
                for entry in rpc.subscriptions:
                    self.handle_subscription(peer, entry)
                for message in rpc.publish:
                    await slots.acquire()
                    nursery.start_soon(self._push, slots, peer, message)
                await self.router.handle_rpc(rpc, peer)
        except ChannelClosed:
            return
        except (ProtocolViolation, DecodeError) as error:
            self._gate.report(channel.peer, f"gossip: {journal.kind(error)}")  # its words may be the peer's
        except Exception as error:  # the outermost edge of the stream
            log.error("a gossip stream failed: %r", error, extra={"peer": channel.peer}, exc_info=error)

    def _accepted(self, peer: ID, frame: bytes) -> rpc_pb2.RPC:
        """What of an inbound RPC counts: topics that we are in and the peer too. No peer exchange."""
        rpc, out = rpc_pb2.RPC(), rpc_pb2.RPC()
        rpc.ParseFromString(frame)
        _check_topics(rpc)
        out.subscriptions.extend(rpc.subscriptions)
        for message in rpc.publish:
            if len(message.data) > MAX_MESSAGE:
                raise ProtocolViolation(f"a message of {len(message.data)} bytes")
            if self._concerns(message, peer) and message.topicIDs[0] in self.topic_ids:
                out.publish.append(message)
        self._copy_control(peer, rpc.control, out.control)
        self._cut_control(rpc.control, out.control)
        return out

    def _cut_control(self, control: rpc_pb2.ControlMessage, out: rpc_pb2.ControlMessage) -> None:
        for kind in ("graft", "prune", "ihave"):
            entries = [entry for entry in getattr(out, kind) if entry.topicID in self.topic_ids]
            del getattr(out, kind)[:]
            getattr(out, kind).extend(entries)
        for prune in out.prune:
            del prune.peers[:]
        for kind in ("iwant", "idontwant"):
            ids = [mid for entry in getattr(control, kind) for mid in entry.messageIDs][:MAX_WANTED]
            if ids:
                getattr(out, kind).add(messageIDs=ids)
        for offer in out.ihave:
            del offer.messageIDs[MAX_WANTED:]

    async def _push(self, slots: trio.Semaphore, forwarder: ID, message: rpc_pb2.Message) -> None:
        try:
            await self.push_msg(forwarder, message)
        finally:
            slots.release()

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """Judge, then remember and pass on. Never raises: the stock one ends the host on a malformed key."""
        try:
            if msg_forwarder == self.my_id or await self._valid(msg_forwarder, msg):
                self._mark_msg_seen(msg)
                await self.router.publish(msg_forwarder, msg)
        except Exception as error:  # the outermost edge of a message
            log.error("gossip failed: %r", error, extra={"peer": str(msg_forwarder)}, exc_info=error)

    async def _valid(self, forwarder: ID, message: rpc_pb2.Message) -> bool:
        """Refusals are not cached by content: one author's bad copy must not silence another's good one."""
        author, key = ID(message.from_id), (message.from_id, content_id(message))
        if author == self.my_id or self._is_msg_seen(message) or key in self._judging:
            return False
        if not _signed(message):
            self._gate.report(str(forwarder), "gossip: forwarded a message without a valid signature")
            return False
        self._judging.add(key)
        try:
            return await self._judge(message.topicIDs[0], str(author), str(forwarder), message.data)
        finally:
            self._judging.discard(key)


def content_id(message: rpc_pb2.Message) -> bytes:
    """SHA-256 over topic and data, so that a copy is known whoever signs and numbers it."""
    return hashlib.sha256("".join(message.topicIDs).encode() + message.data).digest()


def _check_topics(rpc: rpc_pb2.RPC) -> None:
    """protobuf hands out a text that is not UTF-8 as bytes."""
    if len(rpc.subscriptions) > MAX_CLAIMS:
        raise ProtocolViolation(f"{len(rpc.subscriptions)} subscriptions at once")
    named: list[object] = [entry.topicid for entry in rpc.subscriptions]
    named += [topic for message in rpc.publish for topic in message.topicIDs]
    for kind in ("graft", "prune", "ihave"):
        named += [entry.topicID for entry in getattr(rpc.control, kind)]
    if not all(isinstance(topic, str) and len(topic) <= MAX_TOPIC for topic in named):
        raise ProtocolViolation("a topic that is not text, or too long")


def _signed(message: rpc_pb2.Message) -> bool:
    try:
        return bool(signature_validator(message))
    except Exception:  # a malformed key raises whatever its decoder raises
        return False
