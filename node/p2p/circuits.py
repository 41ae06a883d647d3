"""Connections through a relay (circuit relay v2): dialling over any, and being reached over one's own.

The two ends speak Noise through it, so a relay learns who talks to whom and how much, nothing else, and cannot pose
as either.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import trio
from atoll.engine.errors import AtollError
from atoll.node.clock import now_ms
from atoll.node.p2p.bridge import Started
from atoll.node.p2p.changes import PeerChanges
from atoll.node.p2p.errors import ChannelClosed, PeerTimeout, ProtocolViolation, Unreachable
from atoll.node.p2p.host import InboundOver
from atoll.node.p2p.peers import Peers
from atoll.node.p2p.relay import HOP, MAX_FRAME, parse
from atoll.node.p2p.streams import CHUNK, Channel, Streams
from atoll.protocol.peers import peer_of
from libp2p.abc import ConnectionType, IHost, IRawConnection
from libp2p.exceptions import BaseLibp2pError
from libp2p.network.connection.exceptions import RawConnError
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.pb import circuit_pb2 as wire
from multiaddr import Multiaddr

log = logging.getLogger("atoll.p2p")

MARK = "/p2p-circuit"
DEADLINE = 15.0  # for a stream to the relay, its stream to the peer, and the handshake through both
RETRY = 30.0  # seconds after a relay has refused a place
RENEWAL = 0.75  # of a place's life


class Circuits:
    """Lives in the trio loop; ``run`` holds the circuits that this node has dialled."""

    def __init__(self, host: IHost, streams: Streams, peers: Peers) -> None:
        self._host = host
        self._streams = streams
        self._peers = peers
        self._nursery: trio.Nursery

    async def run(self, *, task_status: Started[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started(None)
            await trio.sleep_forever()

    async def dial(self, address: str) -> str:
        """Connect to the peer at ``<relay>/p2p-circuit/p2p/<peer>``; the relay must be connected and have admitted us.

        Returns the peer, whose key is then proven. Raises as ``Streams.connect``.
        """
        relay, target = peer_of(relay_of(address)), peer_of(address)
        self._streams.require_permitted(target)
        if target not in self._streams.connected():
            try:
                with trio.fail_after(DEADLINE):
                    await self._nursery.start(self._carry, relay, target)
            except trio.TooSlowError:
                raise PeerTimeout(f"no connection to {target} through {relay} within {DEADLINE:g} s") from None
        return target

    async def accept(self, channel: Channel) -> None:
        """Serve a stop stream of the own relay: somebody has dialled us through it."""
        message = parse(wire.StopMessage, await channel.receive(MAX_FRAME))
        if message.type != wire.StopMessage.CONNECT:
            raise ProtocolViolation("a relay announces whom it connects")
        await channel.send(wire.StopMessage(type=wire.StopMessage.STATUS, status=wire.OK).SerializeToString())
        circuit = Circuit(channel, ID(message.peer.id), initiator=False)
        try:
            await self._host.upgrade_inbound_connection(circuit, circuit.address)
        except InboundOver:
            return
        except BaseLibp2pError as error:
            raise ChannelClosed(f"no connection came of a circuit: {error}") from None

    async def keep_place(self, relay: str) -> None:
        """Have a place at the relay whenever it is connected, until cancelled."""
        changes = PeerChanges(self._peers)
        while True:
            if not self._peers.admitted(relay):
                await changes.wait(RETRY)
                continue
            seconds = await self._reserve(relay)
            with trio.move_on_after(seconds):
                while self._peers.admitted(relay):
                    await changes.wait(seconds)

    async def _reserve(self, relay: str) -> float:
        """Seconds until this is to be done again."""
        try:
            async with self._streams.open(relay, HOP, deadline=DEADLINE) as channel:
                await channel.send(wire.HopMessage(type=wire.HopMessage.RESERVE).SerializeToString())
                answer = parse(wire.HopMessage, await channel.receive(MAX_FRAME))
        except AtollError as error:
            log.warning("no place at the relay: %s", error.code, extra={"peer": relay})
            return RETRY
        if answer.status != wire.OK:
            log.warning("the relay refuses a place: status %d", answer.status, extra={"peer": relay})
            return RETRY
        return max(RETRY, RENEWAL * (answer.reservation.expire - now_ms() / 1000))

    async def _carry(self, relay: str, target: str, *, task_status: Started[None]) -> None:
        """Hold the stream to the relay for as long as the connection over it lasts."""
        async with self._streams.open(relay, HOP, deadline=DEADLINE) as channel:
            peer = ID.from_base58(target)
            message = wire.HopMessage(type=wire.HopMessage.CONNECT, peer=wire.PeerId(id=peer.to_bytes()))
            await channel.send(message.SerializeToString())
            status = parse(wire.HopMessage, await channel.receive(MAX_FRAME)).status
            if status != wire.OK:
                raise Unreachable(f"the relay {relay} does not reach {target}: status {status}")
            try:
                connection = await self._host.upgrade_outbound_connection(Circuit(channel, peer, initiator=True), peer)
            except (BaseLibp2pError, OSError) as error:
                raise Unreachable(f"no connection to {target} through {relay}: {error}") from error
            task_status.started(None)
            await connection.event_closed.wait()


class Circuit(IRawConnection):  # type: ignore[misc]
    """What a relay passes on, in place of a socket."""

    def __init__(self, channel: Channel, remote: ID, *, initiator: bool) -> None:
        self.is_initiator = initiator
        self.address = Multiaddr(f"/p2p/{channel.peer}{MARK}/p2p/{remote}")
        self._channel = channel

    async def read(self, n: int | None = None) -> bytes:
        with _as_socket():
            return await self._channel.read(CHUNK if n is None else n)

    async def write(self, data: bytes) -> None:
        with _as_socket():
            await self._channel.write(data)

    async def close(self) -> None:
        await self._channel.abort()

    def get_remote_address(self) -> None:
        return None

    def get_transport_addresses(self) -> list[Multiaddr]:
        return [self.address]

    def get_connection_type(self) -> ConnectionType:
        return ConnectionType.RELAYED


def relay_of(address: str) -> str:
    """The address of the relay in that of a peer behind it; Unreachable if that is itself behind a relay."""
    relay, _, _ = address.rpartition(MARK)
    if not relay or MARK in relay:
        raise Unreachable(f"not the address of a peer behind one relay: {address}")
    return relay


@contextlib.contextmanager
def _as_socket() -> Iterator[None]:
    try:
        yield
    except ChannelClosed as error:
        raise RawConnError(error.message) from error
