"""The network of a node: host, streams, gossip and replication in the trio thread, and its face to asyncio.

The rest of the node calls the public coroutines from asyncio; each crosses the bridge once. Everything else here
runs in trio. Losing a peer, a message or a stream is normal and only noted; anti-entropy makes up for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

import trio
from atoll.engine.errors import AtollError
from atoll.node.administration import Administration
from atoll.node.clock import now_ms
from atoll.node.config import P2PSection
from atoll.node.identity import Identity
from atoll.node.metrics import Metrics
from atoll.node.p2p import mdns
from atoll.node.p2p.bridge import Started, TrioThread
from atoll.node.p2p.circuits import MARK, Circuits, relay_of
from atoll.node.p2p.dialling import Dialler
from atoll.node.p2p.errors import ChannelClosed
from atoll.node.p2p.exchange import CONTROL_DEADLINE, ask, requests, shares
from atoll.node.p2p.fetch import Progress, Provider, fetch_file
from atoll.node.p2p.gatekeeper import Gatekeeper
from atoll.node.p2p.gossip import Gossip
from atoll.node.p2p.hello import Greeter
from atoll.node.p2p.host import listen_addresses, open_host
from atoll.node.p2p.introductions import Introductions
from atoll.node.p2p.matching import MatchProvider
from atoll.node.p2p.membership import Membership, Topics
from atoll.node.p2p.peers import Peers
from atoll.node.p2p.prediction import PredictionProvider, Predictions, RemoteModel
from atoll.node.p2p.relay import HOP, STOP, Relay
from atoll.node.p2p.replication import Replication
from atoll.node.p2p.streams import CONNECT_DEADLINE, Channel, Streams
from atoll.node.publishing import Publisher
from atoll.node.serving import Owner
from atoll.node.store.catalogue import Catalogue
from atoll.node.store.federations import Federation, Federations
from atoll.node.store.partial import Partial, Room
from atoll.protocol import ask as ask_protocol
from atoll.protocol import fetch, hello, join, limits, match, peers, predict, sync
from atoll.protocol.ask import AskReply, AskRequest
from atoll.protocol.fetch import FetchHeader, FetchRequest
from atoll.protocol.gossip import Announcement, News
from atoll.protocol.join import KnownPeer
from atoll.protocol.match import MatchReply, MatchRequest
from atoll.protocol.membership import Invite
from atoll.protocol.messages import Message, PeerRefused
from atoll.protocol.peers import PeersRequest, leading_to, peer_of
from atoll.protocol.predict import NO_ROWS, PredictRequest
from libp2p.abc import IHost

log = logging.getLogger("atoll.p2p")

SETTLING_SECONDS = 5.0
TRANSFER_DEADLINE = 30.0
CIRCUITS = 100  # through a relay, of one peer

M = TypeVar("M", bound=Message)
T = TypeVar("T")


@dataclass(frozen=True)
class Services:
    """What the network needs of the node."""

    identity: Identity
    name: str
    federations: Federations
    catalogue: Catalogue
    owner: Owner
    peers: Peers
    administration: Administration
    publisher: Publisher
    metrics: Metrics


class Network:
    """Start once; ``aclose`` ends the thread."""

    def __init__(self, services: Services, config: P2PSection) -> None:
        self._services = services
        self._config = config
        self._peers = services.peers
        self._thread = TrioThread()
        self._addresses: tuple[str, ...] = ()
        self._streams: Streams
        self._circuits: Circuits
        self._predictions: Predictions
        self._gossip: Gossip
        self._topics: Topics
        self._greeter = Greeter(
            services.identity.peer, services.name, lambda: self._addresses, services.federations, services.peers
        )
        self._replication = Replication(
            services.identity.public, services.catalogue, services.federations, services.peers, services.publisher,
            config, services.metrics,
        )  # fmt: skip
        self._introductions = Introductions(services.federations, services.peers)
        self._membership = Membership(
            services.federations, services.administration, services.catalogue, services.peers, self._introductions,
            lambda: KnownPeer(services.identity.peer, services.name, self._addresses),
        )  # fmt: skip
        self._dialler = Dialler(services.peers, self._dial)
        self._gatekeeper = Gatekeeper(services.peers, self._drop)
        self._turns: WeakValueDictionary[str, trio.Lock] = WeakValueDictionary()
        self._nursery: trio.Nursery

    # -- from asyncio --------------------------------------------------------------------------------------------

    async def start(self) -> tuple[str, ...]:
        """Listen and begin; returns the addresses. AddressInUse if the port is taken."""
        self._addresses = await self._thread.start(self._main)
        return self._addresses

    @property
    def running(self) -> bool:
        """Whether it is up, and has not crashed."""
        return self._thread.running

    async def wait_failed(self) -> BaseException | None:
        """Returns when the trio side has ended, with its error if it crashed."""
        return await self._thread.wait_failed()

    async def aclose(self) -> None:
        await self._thread.aclose()
        self._peers.flush()

    @property
    def addresses(self) -> tuple[str, ...]:
        return self._addresses

    async def settled(self) -> None:
        """Returns once a peer has been heard, or it is clear that none will be soon.

        Whoever signs the own log waits for it: a node that was put back from a copy of its files learns from its
        peers that its log was further on, and must not sign a second history.
        """
        settled = self._replication.settled
        if not settled.is_set():
            await asyncio.to_thread(settled.wait, SETTLING_SECONDS)
            settled.set()

    async def dial(self, address: str) -> str:
        """Connect to an address and say hello; returns the peer."""
        return await self._thread.call(self._dial, address)

    async def disconnect(self, peer: str) -> None:
        await self._thread.call(self._streams.disconnect, peer)

    async def relayed(self) -> frozenset[str]:
        """The connected peers that are reached through a relay."""
        return await self._thread.call(self._relayed)

    async def enforce_rules(self) -> None:
        """Cut off at once whoever is connected and not admitted (any more)."""
        await self._thread.call(lambda: self._gatekeeper.enforce(self._streams.connected()))

    async def join(self, invite: Invite) -> Federation:
        """Redeem an invite at the first of its addresses that answers."""
        return await self._thread.call(self._join, invite)

    async def joined(self, federation: bytes) -> None:
        """Take part in a federation that this node has just become a member of."""
        await self._thread.call(self._take_part, federation)

    async def left(self, federation: bytes) -> None:
        """Take part no more in a federation that this node has left."""
        await self._thread.call(self._replication.unsubscribe, federation)
        await self._thread.call(self._changed, federation)

    async def announce(self, news: News) -> None:
        """Gossip news; what is too large for gossip is left to anti-entropy."""
        await self._thread.call(self._replication.announce, news)

    async def tell(self, news: News) -> None:
        """Hand news to every connected member now: this node is about to leave."""
        await self._thread.call(lambda: self._membership.tell_all(self._streams, news))

    async def renew(self, federation: bytes) -> Federation:
        """Ask the admins of a federation for a fresh certificate, until one gives it."""
        return await self._thread.call(lambda: self._membership.renew(self._streams, federation))

    async def match(self, peer: str, message: MatchRequest, deadline: float) -> MatchReply:
        return await self._ask(peer, match.PROTOCOL, message, MatchReply, limits.MATCH_FRAME, deadline)

    @contextlib.asynccontextmanager
    async def predicting(
        self, peer: str, federation: bytes, learnware_id: bytes, island: bytes, user: str, width: int
    ) -> AsyncIterator[RemoteModel]:
        """A learnware of ``width`` outputs at its owner; streams to it are kept open within the block."""
        request = PredictRequest(federation, learnware_id, island, NO_ROWS, user)
        call, predictions = self._thread.call, self._predictions
        await call(predictions.begin, peer)
        try:
            yield RemoteModel(lambda rows: call(predictions.predict, peer, request, rows, width))
        finally:
            with contextlib.suppress(ChannelClosed):  # the network has ended
                await call(predictions.end, peer)

    async def fetch_package(
        self, peer: str, message: FetchRequest, partial: Partial, room: Room,
        progress: Progress | None = None,
    ) -> None:  # fmt: skip
        """Download into ``partial``, resuming; see fetch_file."""
        await self._thread.call(fetch_file, self._streams, peer, message, partial, room, TRANSFER_DEADLINE, progress)

    async def offered_package(self, peer: str, message: FetchRequest) -> FetchHeader:
        """Whether its owner gives a package of which nothing is fetched: ``offset`` is at its end. PeerRefused."""
        return await self._ask(peer, fetch.PROTOCOL, message, FetchHeader, limits.CONTROL_FRAME, CONTROL_DEADLINE)

    async def request(self, peer: str, message: AskRequest) -> AskReply:
        """Ask an owner for what it grants on request."""
        return await self._ask(peer, ask_protocol.PROTOCOL, message, AskReply, limits.CONTROL_FRAME, CONTROL_DEADLINE)

    async def _ask(self, peer: str, protocol: str, message: Message, type_: type[M], limit: int, deadline: float) -> M:
        call = partial(ask, self._streams, peer, protocol, message, type_, limit, deadline)
        return await self._thread.call(call)

    # -- in trio -------------------------------------------------------------------------------------------------

    async def _main(self, *, task_status: Started[tuple[str, ...]]) -> None:
        async with (
            open_host(self._services.identity.secret, self._config.listen) as host,
            trio.open_nursery() as nursery,
        ):
            self._nursery = nursery
            self._streams = Streams(
                host,
                on_connected=self._gatekeeper.connected,
                on_disconnected=self._gatekeeper.disconnected,
                on_misbehaviour=self._gatekeeper.misbehaved,
                permitted=self._gatekeeper.permitted,
                meter=self._peers.note_traffic,
                on_traffic=self._services.metrics.traffic,
            )
            self._gossip = Gossip(
                host, member=self._peers.member, admitted=self._peers.admitted,
                on_misbehaviour=self._gatekeeper.misbehaved, on_message=self._services.metrics.gossiped,
            )  # fmt: skip
            self._predictions = Predictions(self._streams)
            self._topics = Topics(self._greet, self._gossip.refresh, self._gossip.expel)
            self._circuits = Circuits(host, self._streams, self._peers)
            told = leading_to(self._services.identity.peer, self._config.announce)
            self._addresses = told or tuple(listen_addresses(host))
            if self._config.relay:
                own = f"{self._config.relay}{MARK}/p2p/{self._services.identity.peer}"
                self._addresses = (own, *self._addresses)
            nursery.start_soon(self._hasten_at_the_end)
            self._serve()
            self._serve_circuits(host)
            await nursery.start(self._gatekeeper.run)
            await nursery.start(self._circuits.run)
            await nursery.start(self._gossip.run)
            await self._replication.open(self._gossip)
            task_status.started(self._addresses)
            nursery.start_soon(self._dialler.run, self._streams.connected)
            nursery.start_soon(self._introductions.run, self._streams, CONTROL_DEADLINE)
            if self._config.relay:
                nursery.start_soon(self._circuits.keep_place, peer_of(self._config.relay))
            if self._config.mdns:
                nursery.start_soon(mdns.run, self._services.identity.peer, listen_addresses(host), self._peers.hear)
            nursery.start_soon(self._replication.run, self._streams, self._review)
            self._listen_to_the_store(nursery)

    def _listen_to_the_store(self, nursery: trio.Nursery) -> None:
        """Changes of federations and forks are made in worker threads; what follows from them is done here."""
        token = trio.lowlevel.current_trio_token()

        def soon(act: Callable[[T], Awaitable[None]], value: T) -> None:
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(nursery.start_soon, act, value)

        self._services.federations.on_change(partial(soon, self._changed))
        self._services.catalogue.on_fork(partial(soon, self._replication.announce))

    def _serve(self) -> None:
        permitted, admitted = self._gatekeeper.permitted, self._peers.admitted
        owner, metrics = self._services.owner, self._services.metrics
        serve = partial(self._streams.serve, deadline=CONTROL_DEADLINE)
        serve(hello.PROTOCOL, self._answer_hello, admit=self._gatekeeper.heard, concurrency=4)
        serve(join.PROTOCOL, requests(join.Request, self._membership.answer), admit=permitted, concurrency=4)
        serve(peers.PROTOCOL, requests(PeersRequest, self._introductions.answer), admit=admitted, concurrency=4)
        serve(
            sync.PROTOCOL,
            requests(sync.Request | Announcement, self._replication.replicator.answer),
            admit=admitted,
        )
        serve(fetch.PROTOCOL, Provider(owner, self._peers).answer, admit=admitted)
        predicting = PredictionProvider(shares(self._peers, owner.predict), metrics.served_prediction).answer
        serve(match.PROTOCOL, MatchProvider(owner, self._peers, metrics).answer, admit=admitted)
        asked = requests(AskRequest, shares(self._peers, owner.ask))
        serve(ask_protocol.PROTOCOL, asked, admit=admitted, concurrency=4)
        serve(predict.PROTOCOL, predicting, admit=admitted, concurrency=8)

    async def _hasten_at_the_end(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self._streams.hasten()

    def _serve_circuits(self, host: IHost) -> None:
        admitted, relay = self._peers.admitted, self._config.relay and peer_of(self._config.relay)
        serve = partial(self._streams.serve, deadline=CONTROL_DEADLINE, concurrency=CIRCUITS)
        if relay:
            serve(STOP, self._circuits.accept, admit=lambda peer: peer == relay and admitted(peer))
        if self._config.relay_for_members:
            serve(HOP, Relay(host, self._streams, self._peers).answer, admit=admitted)

    async def _answer_hello(self, channel: Channel) -> None:
        shared, doubted = await self._greeter.answer(channel)
        await self._greeted(channel.peer, shared)
        if doubted:
            with contextlib.suppress(RuntimeError):  # the network is closing
                self._nursery.start_soon(self._greet_anew, channel.peer)

    async def _dial(self, address: str) -> str:
        """Connect and say hello, or end the connection; one at a time with each peer."""
        turn = self._turns.setdefault(peer_of(address), trio.Lock())
        async with turn:
            return await self._connect(address)

    async def _connect(self, address: str) -> str:
        before = self._streams.connected()
        peer = await self._connect_to(address)
        if peer not in before:
            self._peers.reached(peer, address)
        try:
            await self._greet(peer)
        except AtollError:
            if not self._peers.admitted(peer):  # by a hello of its own
                await self._drop(peer)
            raise
        return peer

    async def _connect_to(self, address: str) -> str:
        if MARK not in address:
            return await self._streams.connect(address, deadline=CONNECT_DEADLINE)
        relay = relay_of(address)
        if not self._peers.admitted(peer_of(relay)):
            await self._dial(relay)
        return await self._circuits.dial(address)

    async def _greet(self, peer: str) -> None:
        try:
            shared = await self._greeter.greet(self._streams, peer, CONTROL_DEADLINE)
            if await self._membership.succeed(self._streams, peer, shared):
                shared = await self._greeter.greet(self._streams, peer, CONTROL_DEADLINE)
        except PeerRefused as error:
            self._peers.failed(peer, error.message, now_ms(), refused=True)
            raise
        await self._greeted(peer, shared)

    async def _greet_anew(self, peer: str) -> None:
        with contextlib.suppress(AtollError):
            await self._greet(peer)

    async def _greeted(self, peer: str, shared: frozenset[bytes]) -> None:
        if shared:
            await self._gossip.refresh(peer)
            self._replication.want(peer)
            with contextlib.suppress(RuntimeError):  # the network is closing
                self._nursery.start_soon(self._introductions.ask, self._streams, peer, CONTROL_DEADLINE)
        else:
            await self._gossip.expel(peer)

    async def _drop(self, peer: str) -> None:
        with contextlib.suppress(ChannelClosed):
            await self._gossip.expel(peer)
        await self._streams.disconnect(peer)

    async def _join(self, invite: Invite) -> Federation:
        federation = await self._membership.join(self._streams, invite)
        await self._take_part(federation.id)
        return federation

    async def _take_part(self, federation: bytes) -> None:
        await self._replication.subscribe(federation)
        for peer in self._streams.connected():
            await self._greet_anew(peer)

    async def _relayed(self) -> frozenset[str]:
        return self._streams.relayed()

    async def _changed(self, federation: bytes) -> None:
        await self._membership.changed(self._streams, self._topics, federation)

    async def _review(self, federation: bytes) -> None:
        await self._membership.review(self._streams, self._topics, federation)
