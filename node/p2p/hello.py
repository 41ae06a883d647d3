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
from atoll.protocol.hello import (
    MAX_FEDERATIONS,
    PROTOCOL,
    VERSIONS,
    Done,
    Hello,
    Proof,
    Welcome,
    hello_tag,
    welcome_tag,
)
from atoll.protocol.ids import public_key
from atoll.protocol.messages import Refusal, encode
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
        turn = self._peers.turn()
        async with streams.open(peer, PROTOCOL, deadline=deadline) as channel:
            nonce = secrets.token_bytes(16)
            mine = self._tags(nonce, self._own, peer)
            hello = Hello(VERSIONS, now_ms(), nonce, tuple(sorted(mine)), self._name, self._addresses())
            welcome = await request(channel, hello, Welcome, limit=limits.CONTROL_FRAME)
            ahead = welcome.now - now_ms()
            answers = {welcome_tag(fed, nonce, self._own, peer): fed for fed in mine.values()}
            common = {tag: answers[tag] for tag in welcome.tags if tag in answers}
            proven = {t: fed for t, fed in common.items() if not self._federations.barred(fed, public_key(peer))}
            done = await request(channel, Proof(self._certificates(proven)), Done, limit=limits.CONTROL_FRAME)
            shared = await self._verify(peer, common, done.certificates)
        self._peers.learn(peer, welcome.name, welcome.addresses if shared else ())
        self._peers.timed(peer, ahead)
        return self._peers.admit(peer, shared, now_ms(), turn)

    async def answer(self, channel: Channel) -> tuple[frozenset[bytes], bool]:
        """Serve one hello; returns the federations in common, and whether the peer may take this node for revoked: it
        was, and the peer has not met the certificate that made it a member again.
        """
        if not self._peers.permitted(channel.peer):
            await channel.send(encode(Refusal.of(PeerDenied("this node does not admit you"))))
            return frozenset(), False
        hello = await receive_request(channel, Hello, limits.CONTROL_FRAME)
        ahead = hello.now - now_ms()
        turn = self._peers.turn()
        if not set(hello.versions) & set(VERSIONS):
            await channel.send(encode(Refusal("protocol.version", f"this node speaks versions {VERSIONS}")))
            self._peers.failed(channel.peer, f"speaks none of the versions {VERSIONS}", now_ms(), refused=True)
            return frozenset(), False
        if len(hello.tags) > MAX_FEDERATIONS:
            raise ProtocolViolation("too many federations in a hello")
        known = self._tags(hello.nonce, channel.peer, self._own)
        recognised = [known[tag] for tag in hello.tags if tag in known]
        common = {welcome_tag(fed, hello.nonce, channel.peer, self._own): fed for fed in recognised}
        await channel.send(encode(Welcome(now_ms(), self._name, self._addresses(), tuple(sorted(common)))))
        proof = await receive_request(channel, Proof, limits.CONTROL_FRAME)
        shared = await self._verify(channel.peer, common, proof.certificates)
        self._peers.learn(channel.peer, hello.name, hello.addresses if shared else ())
        self._peers.timed(channel.peer, ahead)
        shared = self._peers.admit(channel.peer, shared, now_ms(), turn)
        await channel.send(encode(Done(self._certificates({t: fed for t, fed in common.items() if fed in shared}))))
        silent = [fed for tag, fed in common.items() if tag.hex() not in proof.certificates]
        own = public_key(self._own)
        return shared, any(own in self._federations.authority(fed).revoked for fed in silent)

    def _tags(self, nonce: bytes, dialler: str, listener: str) -> dict[bytes, bytes]:
        own = [each for each in sorted(self._federations.ids()) if self._federations.certified(each)]
        return {hello_tag(fed, nonce, dialler, listener): fed for fed in own[:MAX_FEDERATIONS]}

    def _certificates(self, tags: dict[bytes, bytes]) -> dict[str, Record]:
        own = public_key(self._own)
        return {tag.hex(): self._federations.certificate_of(fed, own) for tag, fed in tags.items()}

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
