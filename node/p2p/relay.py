"""Serving as a relay (libp2p's circuit relay v2, the hop side) for members only.

Bytes are passed between two members that share a federation, of which one has reserved a place here; they encrypt
end to end and prove their keys to each other. libp2p's own relay serves strangers, and in 0.8.1 the end of one
circuit to a peer ends all others to it, so only its messages are used.
"""

from __future__ import annotations

import contextlib
from typing import TypeVar

import trio
from atoll.node.p2p.errors import ChannelClosed, P2PError, ProtocolViolation, Unreachable
from atoll.node.p2p.host import listen_addresses
from atoll.node.p2p.peers import Peers
from atoll.node.p2p.streams import Channel, Streams
from google.protobuf.message import DecodeError, Message
from libp2p.abc import IHost
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.pb import circuit_pb2 as wire
from libp2p.relay.circuit_v2.resources import RelayLimits, Reservation
from multiaddr import Multiaddr

HOP = "/libp2p/circuit/relay/0.2.0/hop"
STOP = "/libp2p/circuit/relay/0.2.0/stop"
MAX_FRAME = 4096
PLACES = 256  # reservations at one time
PLACE_SECONDS = 3600
DEADLINE = 10.0

M = TypeVar("M", bound=Message)


class Relay:
    """``answer`` serves one hop stream of an admitted peer; the caller sees to it that it is one."""

    def __init__(self, host: IHost, streams: Streams, peers: Peers) -> None:
        self._host = host
        self._streams = streams
        self._peers = peers
        self._places: dict[str, Reservation] = {}

    async def answer(self, channel: Channel) -> None:
        """Reserve a place for the peer, or connect it to one that has; a circuit lasts as long as both ends."""
        message = parse(wire.HopMessage, await channel.receive(MAX_FRAME))
        if message.type == wire.HopMessage.RESERVE:
            await channel.send(self._reserve(channel.peer).SerializeToString())
        elif message.type == wire.HopMessage.CONNECT:
            await self._connect(channel, str(ID(message.peer.id)))
        else:
            raise ProtocolViolation("a relay is asked to reserve or to connect")

    def _reserve(self, peer: str) -> wire.HopMessage:
        self._places = {name: place for name, place in self._places.items() if not place.is_expired()}
        if peer not in self._places and len(self._places) >= PLACES:
            return _status(wire.RESOURCE_LIMIT_EXCEEDED)
        limits = RelayLimits(0, 0, PLACES, PLACES, reservation_ttl=PLACE_SECONDS)
        place = self._places[peer] = Reservation(ID.from_base58(peer), limits, self._host)
        place.addrs = [Multiaddr(address).to_bytes() for address in listen_addresses(self._host)]
        answer = _status(wire.OK)
        answer.reservation.CopyFrom(place.to_proto())
        return answer

    async def _connect(self, source: Channel, target: str) -> None:
        if not self._may_meet(source.peer, target):
            await source.send(_status(wire.NO_RESERVATION).SerializeToString())
            return
        try:
            async with self._streams.open(target, STOP, deadline=DEADLINE) as sink:
                await _announce(source.peer, sink)
                await source.send(_status(wire.OK).SerializeToString())
                await _pass_both_ways(source, sink)
                await sink.abort()
        except P2PError:
            await source.send(_status(wire.CONNECTION_FAILED).SerializeToString())
        else:
            await source.abort()

    def _may_meet(self, source: str, target: str) -> bool:
        place = self._places.get(target)
        common = self._peers.shared(source) & self._peers.shared(target)
        return bool(place and not place.is_expired() and common and source != target)


def parse(type_: type[M], frame: bytes) -> M:
    """A message of libp2p's relays, or ProtocolViolation."""
    message = type_()
    try:
        message.ParseFromString(frame)
    except DecodeError as error:
        raise ProtocolViolation(f"not a message of a relay: {error}") from None
    if not message.HasField("type"):
        raise ProtocolViolation("a message of a relay without a type")
    return message


async def _announce(source: str, sink: Channel) -> None:
    """Tell the target who comes; P2PError unless it agrees."""
    peer = wire.PeerId(id=ID.from_base58(source).to_bytes())
    await sink.send(wire.StopMessage(type=wire.StopMessage.CONNECT, peer=peer).SerializeToString())
    if parse(wire.StopMessage, await sink.receive(MAX_FRAME)).status != wire.OK:
        raise Unreachable(f"{sink.peer} does not take the circuit")


async def _pass_both_ways(one: Channel, other: Channel) -> None:
    """Until either end is over: a connection needs both directions."""
    async with trio.open_nursery() as nursery:

        async def pass_on(source: Channel, sink: Channel) -> None:
            with contextlib.suppress(ChannelClosed):
                while data := await source.read():
                    await sink.write(data)
            nursery.cancel_scope.cancel()

        nursery.start_soon(pass_on, one, other)
        nursery.start_soon(pass_on, other, one)


def _status(status: wire.Status.ValueType) -> wire.HopMessage:
    return wire.HopMessage(type=wire.HopMessage.STATUS, status=status)
