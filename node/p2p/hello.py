"""Hello: two peers prove to each other which federations they share (protocol.hello)."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import trio
from atoll.node.clock import now_ms
from atoll.node.errors import PeerDenied
from atoll.node.p2p.errors import ProtocolViolation
from atoll.node.p2p.exchange import receive_request, request
from atoll.node.p2p.peers import Peers
from atoll.node.p2p.streams import Channel, Streams
from atoll.node.store.federations import Federations
from atoll.protocol import limits
from atoll.protocol.errors import ProtocolError
from atoll.protocol.hello import MAX_FEDERATIONS, PROTOCOL, VERSIONS, Done, Hello, Proof, Welcome, blinded
from atoll.protocol.ids import public_key
from atoll.protocol.messages import Refusal, encode, expect
from atoll.protocol.signing import Record

Addresses = Callable[[], tuple[str, ...]]


class Greeter:
    """Says and answers hello; admits the peer in ``Peers``. Lives in the trio loop.

    Addresses of a stranger are not remembered, or it could have this node dial where it likes.
    """

    def __init__(self, own: str, name: str, addresses: Addresses, federations: Federations, peers: Peers) -> None:
        self._own = own
        self._name = name
        self._addresses = addresses
        self._federations = federations
        self._peers = peers

    async def greet(self, streams: Streams, peer: str, deadline: float) -> frozenset[bytes]:
        """Say hello to a connected peer; returns the federations in common. PeerRefused if it will not have us."""
        async with streams.open(peer, PROTOCOL, deadline=deadline) as channel:
            nonce = secrets.token_bytes(16)
            tags = self._tags(nonce, self._own, peer)
            hello = Hello(VERSIONS, now_ms(), nonce, tuple(sorted(tags)), self._name, self._addresses())
            welcome = await request(channel, hello, Welcome, limit=limits.CONTROL_FRAME)
            shared = await self._verify(peer, tags, welcome.certificates)
            proof = Proof({tag.hex(): self._certificate(fed) for tag, fed in tags.items() if fed in shared})
            await channel.send(encode(proof))
            expect(await channel.receive(limits.CONTROL_FRAME), Done, limit=limits.CONTROL_FRAME)
        self._peers.learn(peer, welcome.name, welcome.addresses if shared else ())
        self._peers.admit(peer, shared, now_ms())
        return shared

    async def answer(self, channel: Channel) -> frozenset[bytes]:
        """Serve one hello; returns the federations in common."""
        if not self._peers.permitted(channel.peer):
            await channel.send(encode(Refusal.of(PeerDenied("this node does not admit you"))))
            return frozenset()
        hello = await receive_request(channel, Hello, limits.CONTROL_FRAME)
        if not set(hello.versions) & set(VERSIONS):
            await channel.send(encode(Refusal("protocol.version", f"this node speaks versions {VERSIONS}")))
            self._peers.failed(channel.peer, f"speaks none of the versions {VERSIONS}", now_ms(), refused=True)
            return frozenset()
        if len(hello.tags) > MAX_FEDERATIONS:
            raise ProtocolViolation("too many federations in a hello")
        known = self._tags(hello.nonce, channel.peer, self._own)
        common = {tag: known[tag] for tag in hello.tags if tag in known}
        certificates = {tag.hex(): self._certificate(federation) for tag, federation in common.items()}
        await channel.send(encode(Welcome(now_ms(), self._name, self._addresses(), certificates)))
        proof = await receive_request(channel, Proof, limits.CONTROL_FRAME)
        shared = await self._verify(channel.peer, common, proof.certificates)
        self._peers.learn(channel.peer, hello.name, hello.addresses if shared else ())
        self._peers.admit(channel.peer, shared, now_ms())
        await channel.send(encode(Done(len(shared))))
        return shared

    def _tags(self, nonce: bytes, dialler: str, listener: str) -> dict[bytes, bytes]:
        return {
            blinded(fed, nonce, dialler, listener): fed for fed in sorted(self._federations.ids())[:MAX_FEDERATIONS]
        }

    def _certificate(self, federation: bytes) -> Record:
        return self._federations.certificate_of(federation, public_key(self._own))

    async def _verify(self, peer: str, tags: dict[bytes, bytes], given: dict[str, Record]) -> frozenset[bytes]:
        """Federations whose certificate holds; one that does not is left out, not an error of the others."""
        shared, member = set(), public_key(peer)
        for tag, federation in tags.items():
            record = given.get(tag.hex())
            if record is None:
                continue
            try:
                await trio.to_thread.run_sync(self._federations.check_member, federation, member, record, now_ms())
            except ProtocolError:
                continue
            shared.add(federation)
        return frozenset(shared)
