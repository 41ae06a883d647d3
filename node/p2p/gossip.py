"""Gossip on topics, among members only: GossipSub 1.2 and 1.1, gated, judged, paced.

Runs in the trio loop. Promises: what ``pubsub.py`` promises about strangers; every incoming message is judged
by its topic's ``accept`` before anybody else gets it; one author cannot fill the topic; our own messages do
not come back. Delivery is best effort: what must arrive is fetched by anti-entropy.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable

import trio
from atoll.node import journal
from atoll.node.p2p.bridge import Started
from atoll.node.p2p.buckets import Buckets
from atoll.node.p2p.errors import ChannelClosed, P2PError, PeerTimeout
from atoll.node.p2p.pubsub import MAX_MESSAGE, MAX_WANTED, Gate, GatedPubsub, content_id
from libp2p.abc import IHost
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, PROTOCOL_ID_V12, GossipSub
from libp2p.pubsub.mcache import CacheEntry, MessageCache
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub_notifee import PubsubNotifee
from libp2p.tools.anyio_service import background_trio_service

log = logging.getLogger("atoll.p2p")

PACE = 0.2  # seconds between two publishes: libp2p's queues hold 32 and drop in silence
OUTBOX = 256  # messages waiting for their turn
OUTBOX_WAIT = 10.0
ACCEPT_DEADLINE = 5.0
AUTHOR_RATE = 20.0  # messages a second
AUTHOR_BURST = 100.0

Accept = Callable[[str, bytes], Awaitable[bool]]


class Gossip:
    """Topics of one host. ``member(topic, peer)`` and ``admitted(peer)`` are asked often and must be quick.

    ``on_misbehaviour(peer, why)`` is told when a peer forwards what ``accept`` refuses, or sends garbage;
    ``on_message(direction)`` of every message: in, out or invalid.
    """

    def __init__(
        self,
        host: IHost,
        *,
        member: Callable[[str, str], bool],
        admitted: Callable[[str], bool],
        on_misbehaviour: Callable[[str, str], None] | None = None,
        on_message: Callable[[str], None] = lambda direction: None,
    ) -> None:
        self._host = host
        self._on_message = on_message
        self._gate = Gate(admitted, member, self._report)
        self._on_misbehaviour = on_misbehaviour
        self._accepts: dict[str, Accept] = {}
        self._buckets = Buckets(AUTHOR_RATE, AUTHOR_BURST)
        self._send, self._outbox = trio.open_memory_channel[tuple[str, bytes]](OUTBOX)
        self._pubsub: GatedPubsub | None = None

    async def run(self, *, task_status: Started[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take part until cancelled. libp2p's services are made here: not started, they block ``connect``."""
        router = MemberRouter()
        pubsub = GatedPubsub(self._host, router, self._gate, self._judge)
        try:
            async with background_trio_service(pubsub), background_trio_service(router):
                await pubsub.wait_until_ready()
                self._pubsub = pubsub
                task_status.started(None)
                await self._publish_paced(pubsub)
        finally:
            self._pubsub = None
            self._detach(pubsub)

    async def subscribe(self, topic: str, accept: Accept) -> None:
        """Take part in ``topic``. ``accept(author, data)`` is awaited for each new message.

        False drops it and blames the forwarder; an exception or 5 s of silence drops it without blame.
        """
        pubsub = self._running()
        self._accepts[topic] = accept
        await pubsub.subscribe(topic)

    async def unsubscribe(self, topic: str) -> None:
        self._accepts.pop(topic, None)
        await self._running().unsubscribe(topic)

    async def publish(self, topic: str, data: bytes) -> None:
        """Queue a message; five a second leave. Content of the last two minutes is not passed on again.

        Raises ``p2p.failed`` over 64 KiB and ``p2p.timeout`` if the queue stays full for 10 s.
        """
        self._running()
        if len(data) > MAX_MESSAGE:
            raise P2PError(f"a gossip message of {len(data)} bytes", hint=f"at most {MAX_MESSAGE} are sent")
        with trio.move_on_after(OUTBOX_WAIT):
            await self._send.send((topic, data))
            return
        raise PeerTimeout(f"{OUTBOX} gossip messages are waiting already", hint="publish less, or batch")

    async def refresh(self, peer: str) -> None:
        """To be called when ``peer`` was admitted or its memberships changed, either way."""
        await self._running().refresh(ID.from_base58(peer))

    async def expel(self, peer: str) -> None:
        """To be called when ``peer`` is admitted no longer: its streams end and it is forgotten."""
        await self._running().expel(ID.from_base58(peer))

    def audience(self, topic: str) -> set[str]:
        """The members among our peers that are known to take part in ``topic``."""
        return {str(peer) for peer in self._running().peer_topics.get(topic, ())}

    def _running(self) -> GatedPubsub:
        if self._pubsub is None:
            raise ChannelClosed("gossip is not running on this node")
        return self._pubsub

    async def _publish_paced(self, pubsub: GatedPubsub) -> None:
        while True:
            topic, data = await self._outbox.receive()
            await pubsub.publish(topic, data)
            self._on_message("out")
            await trio.sleep(PACE)

    async def _judge(self, topic: str, author: str, forwarder: str, data: bytes) -> bool:
        with journal.only(peer=forwarder):
            good = await self._judged(topic, author, forwarder, data)
        self._on_message("in" if good else "invalid")
        return good

    async def _judged(self, topic: str, author: str, forwarder: str, data: bytes) -> bool:
        accept = self._accepts.get(topic)
        if accept is None:
            return False
        if not self._buckets.take(author, trio.current_time()):
            log.debug("an author exceeds the rate of gossip", extra={"peer": author})
            return False
        try:
            with trio.fail_after(ACCEPT_DEADLINE):
                good = await accept(author, data)
        except Exception as error:  # ours to mend, not the peer's fault
            log.error("could not judge a message: %r", error, extra={"topic": topic}, exc_info=error)
            return False
        if not good:
            self._report(forwarder, "gossip: forwarded a message that is not acceptable")
        return good

    def _report(self, peer: str, why: str) -> None:
        log.warning("a peer misbehaved: %s", why, extra={"peer": peer})
        if self._on_misbehaviour is not None:
            self._on_misbehaviour(peer, why)

    def _detach(self, pubsub: GatedPubsub) -> None:
        network = self._host.get_network()
        for notifee in [n for n in network.notifees if isinstance(n, PubsubNotifee)]:
            network.remove_notifee(notifee)
        for protocol in pubsub.protocols:
            self._host.remove_stream_handler(protocol)
        pubsub.seen_messages.stop()  # a thread of its own, which nobody else ends


class MemberRouter(GossipSub):  # type: ignore[misc]
    """GossipSub with the parts of libp2p 0.8.1 that misbehave replaced.

    Its adaptive mode slows the heartbeat from 1 s to 30 or 60 s in a small network, its spam protection loses
    honest messages, its equivocation check loses those after a restart.
    """

    def __init__(self) -> None:
        super().__init__(
            protocols=[PROTOCOL_ID_V12, PROTOCOL_ID_V11],
            degree=6,
            degree_low=4,
            degree_high=12,
            heartbeat_interval=1,
            spam_protection_enabled=False,
            adaptive_gossip_enabled=False,
            eclipse_protection_enabled=False,
        )
        self.mcache: MessageCache = _ContentCache(window_size=3, history_size=5)  # heartbeats; the defaults

    async def heartbeat(self) -> None:
        while True:
            try:
                await super().heartbeat()
            except Exception as error:  # the outermost edge: the stock one ends the host
                log.error("a gossip heartbeat failed: %r", error, exc_info=error)
            await trio.sleep(self.heartbeat_interval)

    async def publish(self, msg_forwarder: ID, pubsub_msg: rpc_pb2.Message) -> None:
        await super().publish(msg_forwarder, pubsub_msg)
        self._pending_messages.clear()  # kept for peers that did not subscribe: not theirs
        self.recent_message_deliveries.clear()  # grows for ever outside the adaptive mode

    async def _emit_control_msgs(
        self,
        peers_to_graft: dict[ID, list[str]],
        peers_to_prune: dict[ID, list[str]],
        peers_to_gossip: dict[ID, dict[str, list[bytes]]],
    ) -> None:
        """To each peer its own topics; the stock one sends the topics of one peer to the next as well."""
        control: defaultdict[ID, rpc_pb2.ControlMessage] = defaultdict(rpc_pb2.ControlMessage)
        for peer, topics in peers_to_graft.items():
            control[peer].graft.extend(rpc_pb2.ControlGraft(topicID=topic) for topic in topics)
        for peer, topics in peers_to_prune.items():
            for topic in topics:
                self._add_back_off(peer, topic, False)
                control[peer].prune.add(topicID=topic, backoff=self.prune_back_off)
        for peer, offers in peers_to_gossip.items():
            for topic, ids in offers.items():
                control[peer].ihave.add(topicID=topic, messageIDs=ids[:MAX_WANTED])
        for peer, message in control.items():
            await self.emit_control_message(message, peer)

    def _check_equivocation(self, msg: rpc_pb2.Message) -> bool:
        return True  # by sequence number; ours is by content


class _ContentCache(MessageCache):  # type: ignore[misc]
    """By the id that is also used for what was seen; the stock one offers it all again by another id."""

    def put(self, msg: rpc_pb2.Message) -> None:
        key = content_id(msg)
        if key not in self.msgs:
            self.msgs[key] = msg
            self.history[0].append(CacheEntry(key, msg.topicIDs))
