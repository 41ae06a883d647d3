"""The network of a node: host, streams, gossip and replication in the trio thread, and its face to asyncio.

The rest of the node calls the public coroutines from asyncio; each crosses the bridge once. Everything else here
runs in trio. Losing a peer, a message or a stream is normal and only noted; anti-entropy makes up for it.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio
from atoll.engine.errors import AtollError
from atoll.node.clock import now_ms
from atoll.node.config import P2PSection
from atoll.node.identity import Identity
from atoll.node.p2p.bridge import Started, TrioThread
from atoll.node.p2p.errors import P2PError, Unreachable
from atoll.node.p2p.exchange import ask, serve_requests
from atoll.node.p2p.fetch import Progress, Provider, fetch_file
from atoll.node.p2p.gossip import Gossip
from atoll.node.p2p.hello import Greeter
from atoll.node.p2p.host import listen_addresses, open_host
from atoll.node.p2p.peers import Peers
from atoll.node.p2p.streams import Channel, Handler, Streams
from atoll.node.p2p.sync import Replicator
from atoll.node.serving import Owner
from atoll.node.store.catalogue import Catalogue
from atoll.node.store.federations import Federation, Federations
from atoll.protocol import fetch, hello, join, limits, match, predict, sync
from atoll.protocol.errors import LogIncomplete, NotMember, ProtocolError
from atoll.protocol.gossip import Announcement
from atoll.protocol.ids import public_key
from atoll.protocol.join import JoinReply, JoinRequest, KnownPeer
from atoll.protocol.match import MatchReply, MatchRequest
from atoll.protocol.membership import Invite
from atoll.protocol.messages import Message, decode, encode, topic
from atoll.protocol.predict import Prediction, PredictRequest

log = logging.getLogger("atoll.p2p")

DIAL_SECONDS = 1.0  # how often due peers are looked for
CONNECT_DEADLINE = 8.0
CONTROL_DEADLINE = 10.0
TRANSFER_DEADLINE = 30.0

M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class Services:
    """What the network needs of the node."""

    identity: Identity
    name: str
    federations: Federations
    catalogue: Catalogue
    owner: Owner
    peers: Peers


class Network:
    """Start once; ``aclose`` ends the thread."""

    def __init__(self, services: Services, config: P2PSection) -> None:
        self._services = services
        self._config = config
        self._peers = services.peers
        self._thread = TrioThread()
        self._addresses: tuple[str, ...] = ()
        self._streams: Streams
        self._gossip: Gossip
        self._greeter = Greeter(
            services.identity.peer, services.name, lambda: self._addresses, services.federations, services.peers
        )
        self._replicator = Replicator(services.catalogue, services.federations, services.peers, self._want)
        self._soon: trio.MemorySendChannel[str]

    # -- from asyncio --------------------------------------------------------------------------------------------

    async def start(self) -> tuple[str, ...]:
        """Listen and begin; returns the addresses. AddressInUse if the port is taken."""
        self._addresses = await self._thread.start(self._main)
        return self._addresses

    async def wait_failed(self) -> BaseException | None:
        """Returns when the trio side has ended, with its error if it crashed."""
        return await self._thread.wait_failed()

    async def aclose(self) -> None:
        await self._thread.aclose()

    @property
    def addresses(self) -> tuple[str, ...]:
        return self._addresses

    async def dial(self, address: str) -> str:
        """Connect to an address and say hello; returns the peer."""
        return await self._thread.call(self._dial, address)

    async def disconnect(self, peer: str) -> None:
        await self._thread.call(self._streams.disconnect, peer)

    async def join(self, invite: Invite) -> Federation:
        """Redeem an invite at the first of its addresses that answers."""
        return await self._thread.call(self._join, invite)

    async def joined(self, federation: bytes) -> None:
        """Take part in a federation that this node has just become a member of."""
        await self._thread.call(self._take_part, federation)

    async def announce(self, announcement: Announcement) -> None:
        """Gossip news of the own log; what is too large for gossip is left to anti-entropy."""
        data = encode(announcement)
        if len(data) <= limits.GOSSIP_MESSAGE:
            await self._thread.call(self._gossip.publish, topic(announcement.federation), data)

    async def match(self, peer: str, message: MatchRequest, deadline: float) -> MatchReply:
        return await self._ask(peer, match.PROTOCOL, message, MatchReply, limits.MATCH_FRAME, deadline)

    async def predict(self, peer: str, message: PredictRequest, deadline: float) -> Prediction:
        return await self._ask(peer, predict.PROTOCOL, message, Prediction, limits.PREDICT_FRAME, deadline)

    async def fetch_package(
        self, peer: str, federation: bytes, revision: bytes, target: Path, progress: Progress | None = None
    ) -> bytes:
        """Download into ``target`` (resuming); returns the promised SHA-256."""
        call = partial(fetch_file, self._streams, peer, federation, revision, target, TRANSFER_DEADLINE, progress)
        return await self._thread.call(call)

    async def _ask(self, peer: str, protocol: str, message: Message, type_: type[M], limit: int, deadline: float) -> M:
        call = partial(ask, self._streams, peer, protocol, message, type_, limit, deadline)
        return await self._thread.call(call)

    # -- in trio -------------------------------------------------------------------------------------------------

    async def _main(self, *, task_status: Started[tuple[str, ...]]) -> None:
        self._soon, wanted = trio.open_memory_channel[str](64)
        async with (
            open_host(self._services.identity.secret, self._config.listen) as host,
            trio.open_nursery() as nursery,
        ):
            self._streams = Streams(
                host,
                on_connected=lambda peer: self._peers.connected(peer, now_ms()),
                on_disconnected=lambda peer: self._peers.lost(peer, "disconnected"),
                on_misbehaviour=self._peers.on_misbehaviour,
            )
            self._gossip = Gossip(
                host, member=self._peers.member, admitted=self._peers.admitted,
                on_misbehaviour=self._peers.on_misbehaviour,
            )  # fmt: skip
            self._addresses = self._config.announce or tuple(listen_addresses(host))
            self._serve()
            await nursery.start(self._gossip.run)
            for federation in sorted(self._services.federations.ids()):
                await self._subscribe(federation)
            task_status.started(self._addresses)
            nursery.start_soon(self._dial_loop)
            nursery.start_soon(self._sync_loop, wanted)

    def _serve(self) -> None:
        anyone, admitted = (lambda _: True), self._peers.admitted
        owner, shares = self._services.owner, self._shares
        serve = partial(self._streams.serve, deadline=CONTROL_DEADLINE)
        serve(hello.PROTOCOL, self._answer_hello, admit=anyone, concurrency=4)
        serve(join.PROTOCOL, self._requests(JoinRequest, self._answer_join), admit=anyone, concurrency=4)
        serve(sync.PROTOCOL, self._requests(sync.Request, self._replicator.answer), admit=admitted)
        serve(fetch.PROTOCOL, Provider(owner, self._peers).answer, admit=admitted)
        matching = self._requests(MatchRequest, shares(owner.match), limits.MATCH_FRAME)
        predicting = self._requests(PredictRequest, shares(owner.predict), limits.PREDICT_FRAME)
        serve(match.PROTOCOL, matching, admit=admitted)
        serve(predict.PROTOCOL, predicting, admit=admitted, concurrency=8)

    def _requests(
        self, type_: object, answer: Callable[[str, M], Message], limit: int = limits.CONTROL_FRAME
    ) -> Handler:
        async def handler(channel: Channel) -> None:
            await serve_requests(channel, type_, answer, limit=limit)

        return handler

    def _shares(self, answer: Callable[[M], Message]) -> Callable[[str, M], Message]:
        """Refuse requests in a federation that the peer has not proven to be in."""

        def checked(peer: str, message: M) -> Message:
            if message.federation not in self._peers.shared(peer):  # type: ignore[attr-defined]
                raise NotMember("not a member of this federation")
            return answer(message)

        return checked

    async def _answer_hello(self, channel: Channel) -> None:
        shared = await self._greeter.answer(channel)
        await self._greeted(channel.peer, shared)

    def _answer_join(self, peer: str, message: JoinRequest) -> Message:
        charter, certificate = self._services.federations.redeem(
            message.federation, message.token, public_key(peer), message.name, now_ms()
        )
        self._peers.learn(peer, message.name, message.addresses)
        own = KnownPeer(self._services.identity.peer, self._services.name, self._addresses)
        return JoinReply(charter, certificate, (own, *self._peers.known()))

    async def _dial(self, address: str) -> str:
        peer = await self._streams.connect(address, deadline=CONNECT_DEADLINE)
        self._peers.learn(peer, "", (address,))
        self._peers.connected(peer, now_ms())
        await self._greet(peer)
        return peer

    async def _greet(self, peer: str) -> None:
        shared = await self._greeter.greet(self._streams, peer, CONTROL_DEADLINE)
        await self._greeted(peer, shared)

    async def _greeted(self, peer: str, shared: frozenset[bytes]) -> None:
        if shared:
            await self._gossip.refresh(peer)
            self._want(peer)
        else:
            await self._gossip.expel(peer)

    async def _join(self, invite: Invite) -> Federation:
        failure: AtollError = Unreachable("the invite names no address")
        for address in invite.addresses[:8]:
            try:
                peer = await self._streams.connect(address, deadline=CONNECT_DEADLINE)
                break
            except P2PError as error:
                failure = error
        else:
            raise Unreachable(f"no admin of the federation answers: {failure.message}", hint="try again later")
        message = JoinRequest(invite.federation, invite.token, self._services.name, self._addresses)
        reply = await ask(
            self._streams, peer, join.PROTOCOL, message, JoinReply, limits.CONTROL_FRAME, CONTROL_DEADLINE
        )
        if reply.charter.digest != invite.federation:
            raise ProtocolError("the admin answered for another federation")
        federation = await trio.to_thread.run_sync(
            self._services.federations.accept, reply.charter, reply.certificate, now_ms()
        )
        for known in reply.peers[:256]:
            self._peers.learn(known.peer, known.name, known.addresses)
        await self._take_part(federation.id)
        return federation

    async def _take_part(self, federation: bytes) -> None:
        await self._subscribe(federation)
        for peer in self._streams.connected():
            with contextlib.suppress(AtollError):
                await self._greet(peer)

    async def _subscribe(self, federation: bytes) -> None:
        await self._gossip.subscribe(topic(federation), partial(self._accept, federation))

    async def _accept(self, federation: bytes, author: str, data: bytes) -> bool:
        """Judge a gossip message: false blames the forwarder, so only what is plainly wrong is false."""
        try:
            news = decode(data, Announcement, limit=limits.GOSSIP_MESSAGE)
        except ProtocolError:
            return False
        if news.federation != federation:
            return False
        apply = partial(
            self._services.catalogue.apply, federation, news.certificate, news.head, news.listings, now_ms()
        )
        try:
            await trio.to_thread.run_sync(apply)
        except LogIncomplete:
            self._want(author)
        except AtollError as error:
            log.info("gossip refused: %s", error.message, extra={"peer": author})
            return False
        if self._services.catalogue.missing_islands(federation):
            self._want(author)
        return True

    def _want(self, peer: str) -> None:
        """Sync with ``peer`` soon; dropped when many are waiting, since the regular round comes anyway."""
        with contextlib.suppress(trio.WouldBlock):
            self._soon.send_nowait(peer)

    async def _dial_loop(self) -> None:
        for address in self._config.bootstrap:
            with contextlib.suppress(P2PError, ProtocolError):
                await self._dial(address)
        while True:
            due = self._peers.due(now_ms(), self._streams.connected())
            async with trio.open_nursery() as nursery:
                for state in due[:8]:
                    nursery.start_soon(self._redial, state.peer, state.addresses)
            await trio.sleep(DIAL_SECONDS)

    async def _redial(self, peer: str, addresses: tuple[str, ...]) -> None:
        why = ""
        for address in addresses:
            try:
                if await self._dial(address) == peer:
                    return
            except AtollError as error:
                why = error.message
        self._peers.failed(peer, why, now_ms())

    async def _sync_loop(self, wanted: trio.MemoryReceiveChannel[str]) -> None:
        while True:
            peer = ""
            with trio.move_on_after(self._config.sync_seconds):
                peer = await wanted.receive()
            live = self._peers.live()
            chosen = peer if peer in live else random.choice(live) if live else ""
            if not chosen:
                continue
            try:
                await self._replicator.sync(self._streams, chosen, CONTROL_DEADLINE)
            except AtollError as error:
                log.info("sync failed: %s", error.message, extra={"peer": chosen})
