"""Keeping the catalogue level: gossip as a hint, comparing with a peer every few seconds as the truth.

Lives in the trio loop. Losing a message is normal; what is missing comes with the next comparison.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from collections.abc import Awaitable, Callable
from functools import partial

import trio
from atoll.engine.errors import AtollError
from atoll.node import journal
from atoll.node.clock import now_ms
from atoll.node.config import P2PSection
from atoll.node.metrics import Metrics
from atoll.node.p2p.exchange import CONTROL_DEADLINE
from atoll.node.p2p.gossip import Gossip
from atoll.node.p2p.peers import Peers
from atoll.node.p2p.streams import Streams
from atoll.node.p2p.sync import Replicator
from atoll.node.publishing import Publisher
from atoll.node.store.catalogue import Catalogue
from atoll.node.store.federations import Federations
from atoll.protocol import limits
from atoll.protocol.errors import ForkDetected, LogIncomplete, ProtocolError, Quarantined
from atoll.protocol.gossip import News
from atoll.protocol.messages import decode, encode, topic

log = logging.getLogger("atoll.p2p")
QUEUE = 64  # peers to sync with soon; more are dropped, since the regular round comes anyway


class Replication:
    """Made before the network is up; ``run`` needs it up. ``settled`` is set once a peer has been compared with."""

    def __init__(
        self, own: bytes, catalogue: Catalogue, federations: Federations, peers: Peers, publisher: Publisher,
        config: P2PSection, metrics: Metrics,
    ) -> None:  # fmt: skip
        self._catalogue = catalogue
        self._federations = federations
        self._peers = peers
        self._publisher = publisher
        self._config = config
        self._metrics = metrics
        self._soon: trio.MemorySendChannel[str] | None = None
        self._wanted: trio.MemoryReceiveChannel[str]
        self._gossip: Gossip
        self.replicator = Replicator(own, catalogue, federations, peers, self.want, self._rebase)
        self.settled = threading.Event()

    async def run(self, streams: Streams, review: Callable[[bytes], Awaitable[None]]) -> None:
        """Compare with a peer every few seconds, or when there is a reason; ``review(federation)`` before each."""
        while True:
            peer = ""
            with trio.move_on_after(self._config.sync_seconds):
                peer = await self._wanted.receive()
            for federation in self._federations.ids():
                await review(federation)
            live = self._peers.live()
            chosen = peer if peer in live else random.choice(live) if live else ""
            if not chosen:
                continue
            try:
                with journal.only(peer=chosen):
                    news = await self.replicator.sync(streams, chosen, CONTROL_DEADLINE)
                self._metrics.synced("news" if news else "level")
                self.settled.set()
                if news and len(live) > 1:  # pass it on at once: without gossip it would take a round a hop
                    self.want(random.choice([each for each in live if each != chosen]))
            except AtollError as error:
                self._metrics.synced("failed")
                log.info("sync failed: %s", error.code, extra={"peer": chosen})

    async def open(self, gossip: Gossip) -> None:
        """Begin to listen, in every federation of this node."""
        self._soon, self._wanted = trio.open_memory_channel[str](QUEUE)
        self._gossip = gossip
        for federation in sorted(self._federations.ids()):
            await self.subscribe(federation)
        if not any(each.places for each in self._peers.all()):
            self.settled.set()

    async def subscribe(self, federation: bytes) -> None:
        if self._config.gossip:
            await self._gossip.subscribe(topic(federation), partial(self.accept, federation))

    async def unsubscribe(self, federation: bytes) -> None:
        if self._config.gossip:
            await self._gossip.unsubscribe(topic(federation))

    def want(self, peer: str) -> None:
        """Sync with ``peer`` soon."""
        if self._soon is not None:
            with contextlib.suppress(trio.WouldBlock):
                self._soon.send_nowait(peer)

    async def announce(self, news: News) -> None:
        """Gossip news, or compare with the peers where that is off or the news too large."""
        data = encode(news)
        if self._config.gossip and len(data) <= limits.GOSSIP_MESSAGE:
            await self._gossip.publish(topic(news.federation), data)
            return
        live = self._peers.live()
        for peer in random.sample(live, min(len(live), 4)):
            self.want(peer)

    async def accept(self, federation: bytes, author: str, data: bytes) -> bool:
        """Judge a gossip message: false blames the forwarder, so only what is plainly wrong is false."""
        try:
            news = decode(data, News, limit=limits.GOSSIP_MESSAGE)
        except ProtocolError:
            return False
        if news.federation != federation:
            return False
        try:
            await trio.to_thread.run_sync(self._catalogue.take_in, news, now_ms())
        except (LogIncomplete, ForkDetected, Quarantined):
            self.want(author)
        except AtollError as error:
            log.info("gossip refused: %s", error.code, extra={"peer": author})
            return False
        if self._catalogue.missing_islands(federation):
            self.want(author)
        return True

    def _rebase(self, federation: bytes, above: int) -> None:
        """A peer has shown a newer head of ours: begin a new epoch, and say so. Runs in a worker thread."""
        log.warning("peers know more of this node's log than it does: it begins a new epoch")
        news = self._publisher.rebase(federation, above, now_ms())
        if news is not None:
            trio.from_thread.run(self.announce, news)
