"""Members introduce members: after each hello, and now and then, a peer is asked whom it knows (protocol.peers)."""

from __future__ import annotations

import logging
import random

import trio
from atoll.engine.errors import AtollError
from atoll.node.clock import now_ms
from atoll.node.p2p.errors import ProtocolViolation
from atoll.node.p2p.exchange import request
from atoll.node.p2p.peers import Peers
from atoll.node.p2p.streams import Channel, Streams
from atoll.node.store.federations import Federations
from atoll.protocol import limits
from atoll.protocol.errors import ProtocolError
from atoll.protocol.ids import peer_id
from atoll.protocol.messages import PeerRefused
from atoll.protocol.peers import PROTOCOL, Acquaintance, PeersReply, PeersRequest

log = logging.getLogger("atoll.p2p")

EVERY = 60.0  # seconds, about


class Introductions:
    """Answers in a worker thread, asks in the trio loop."""

    def __init__(self, federations: Federations, peers: Peers) -> None:
        self._federations = federations
        self._peers = peers

    def answer(self, peer: str, message: PeersRequest) -> PeersReply:
        """Some members of a federation shared with ``peer``; NotMember for any other."""
        self._peers.require_shared(peer, message.federation)
        return PeersReply(self.members(message.federation, peer))

    def members(self, federation: bytes, asker: str) -> tuple[Acquaintance, ...]:
        """At most PEERS_TOLD of the members whose certificate and own words we have, but for the asker."""
        now = now_ms()
        members = {peer_id(each.member) for each in self._federations.members(federation, now)}
        known = [each for each in self._peers.known() if each.peer in members and each.peer != asker]
        told = random.sample(known, min(len(known), limits.PEERS_TOLD))
        return tuple(Acquaintance(each.peer, each.name, each.addresses) for each in told)

    async def run(self, streams: Streams, deadline: float) -> None:
        """Ask a random live peer about once a minute."""
        while True:
            await trio.sleep(EVERY * random.uniform(0.75, 1.25))
            live = self._peers.live()
            if live:
                await self.ask(streams, random.choice(live), deadline)

    async def ask(self, streams: Streams, peer: str, deadline: float) -> None:
        """Hear of the members that ``peer`` knows in each shared federation; that it fails is only noted."""
        try:
            async with streams.open(peer, PROTOCOL, deadline=deadline) as channel:
                for federation in sorted(self._peers.shared(peer)):
                    await self._ask_one(channel, PeersRequest(federation))
        except AtollError as error:
            log.info("nobody was introduced: %s", error.code, extra={"peer": peer})

    async def _ask_one(self, channel: Channel, message: PeersRequest) -> None:
        try:
            reply = await request(channel, message, PeersReply, limit=limits.CONTROL_FRAME)
            for each in reply.peers:
                self._peers.hear(each.peer, each.name, each.addresses)
        except PeerRefused:
            raise
        except ProtocolError as error:
            raise ProtocolViolation(error.message) from None
