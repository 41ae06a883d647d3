"""Streams between peers: varint-length-prefixed frames, a deadline on every operation, and who may open one.

Runs in the trio loop and knows bytes only. Promises: a peer that is not admitted has its stream reset before
a byte of it is read; a handler never takes the host down; frames over the limit are refused by their length.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio
from atoll.engine.errors import AtollError, EncodingError
from atoll.node import journal
from atoll.node.errors import PeerDenied
from atoll.node.p2p.errors import ChannelClosed, PeerTimeout, ProtocolViolation, Unreachable
from atoll.node.p2p.host import CLEANUP, CLOSING, quiet_reset, shielded
from atoll.node.p2p.names import info_of
from libp2p.abc import ConnectionType, IHost, INetConn, INetStream, INetwork, INotifee
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID
from multiaddr import Multiaddr

log = logging.getLogger("atoll.p2p")

CHUNK = 64 * 1024  # bytes asked of a stream at a time
CONNECT_DEADLINE = 8.0
LENGTH_BYTES = 5  # a length of up to 32 bits
LINGER = 5.0  # seconds a served stream waits for the other end to close
PROTOCOL_FACTOR = 16  # streams of one protocol in all, as a multiple of those of one peer

Handler = Callable[["Channel"], Awaitable[None]]
Meter = Callable[[str, int, int], None]  # peer, bytes received, bytes sent


class Channel:
    """One stream to ``peer``: whole frames in both directions, each within ``deadline`` seconds.

    Operations raise ``p2p.timeout``, ``p2p.closed`` when the stream has ended, and ``p2p.protocol``.
    """

    def __init__(self, stream: INetStream, *, deadline: float, meter: Meter | None = None) -> None:
        self.peer = str(stream.muxed_conn.peer_id)
        self._stream = stream
        self._deadline = deadline
        self._meter = meter
        self._buffer = bytearray()

    async def send(self, frame: bytes) -> None:
        """Returns when libp2p has taken the frame, which says nothing about the peer having read it."""
        data = _length_prefix(len(frame)) + frame
        with self._bounded("send"):
            await self._stream.write(data)
        self._count(0, len(data))

    async def receive(self, limit: int) -> bytes:
        """The next frame; one announced as longer than ``limit`` bytes is refused before it is read."""
        with self._bounded("receive"):
            length = await self._length()
            if length > limit:
                raise ProtocolViolation(f"a frame of {length} bytes where at most {limit} are allowed")
            return await self._take(length)

    async def arrived(self) -> None:
        """Returns when some of the next frame is here. However long that takes."""
        if not self._buffer:
            with self._bounded("receive", math.inf):
                await self._fill()

    async def read(self, limit: int = CHUNK) -> bytes:
        """For bytes that are in no frames: what there is, b"" at the end. However long that takes."""
        if self._buffer:
            return await self._take(min(limit, len(self._buffer)))
        with self._bounded("read", math.inf):
            chunk: bytes = await self._stream.read(limit)
        self._count(len(chunk), 0)
        return chunk

    async def write(self, data: bytes) -> None:
        """For bytes that are in no frames. However long that takes."""
        with self._bounded("write", math.inf):
            await self._stream.write(data)
        self._count(0, len(data))

    async def finish(self) -> None:
        """Close the writing side: the peer sees the end after what was sent."""
        with self._bounded("finish"):
            await self._stream.close_write()

    async def abort(self) -> None:
        """Reset the stream: the peer sees it break off. Never raises."""
        await quiet_reset(self._stream)

    async def close(self) -> None:
        """Say goodbye; shielded and short, since the caller is done with the stream."""
        with shielded(CLEANUP):
            try:
                await self._stream.close()
            except (BaseLibp2pError, ValueError):
                await self.abort()

    async def _length(self) -> int:
        length = 0
        for place in range(LENGTH_BYTES):
            byte = (await self._take(1))[0]
            length |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                if byte == 0 and place:
                    break
                return length
        raise ProtocolViolation("the length of a frame is not a minimal varint")

    async def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._fill()
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def _fill(self) -> None:
        chunk = await self._stream.read(CHUNK)
        if not chunk:
            raise ChannelClosed("the peer closed the stream")
        self._count(len(chunk), 0)
        self._buffer += chunk

    def _count(self, received: int, sent: int) -> None:
        if self._meter is not None:
            self._meter(self.peer, received, sent)

    @contextmanager
    def _bounded(self, what: str, seconds: float | None = None) -> Iterator[None]:
        try:
            with trio.fail_after(self._deadline if seconds is None else seconds):
                yield
        except trio.TooSlowError:
            raise PeerTimeout(f"{what}: nothing from {self.peer} for {self._deadline:g} s") from None
        except (BaseLibp2pError, ValueError) as error:  # ValueError: what NetStream lets through
            raise ChannelClosed(f"{what}: the stream to {self.peer} has ended ({error!r})") from error


class Streams:
    """Dials, serves and watches peers on one host. Callbacks are plain functions, called in the trio loop.

    A peer that ``permitted`` refuses is not dialled. ``meter`` hears of the bytes of every frame, by peer, and
    ``on_traffic`` of the same, by protocol.
    """

    def __init__(
        self,
        host: IHost,
        *,
        on_connected: Callable[[str], None] | None = None,
        on_disconnected: Callable[[str], None] | None = None,
        on_misbehaviour: Callable[[str, str], None] | None = None,
        permitted: Callable[[str], bool] = lambda _: True,
        meter: Meter | None = None,
        on_traffic: Meter | None = None,
    ) -> None:
        self._host = host
        self._network = host.get_network()
        self._on_misbehaviour = on_misbehaviour
        self._permitted = permitted
        self._meter = meter
        self._on_traffic = on_traffic
        self._opening: set[trio.CancelScope] = set()
        self._closing = False
        self._network.register_notifee(_Watcher(self._network, on_connected, on_disconnected))

    def serve(
        self,
        protocol: str,
        handler: Handler,
        *,
        deadline: float,
        admit: Callable[[str], bool],
        concurrency: int = 32,
    ) -> None:
        """Run ``handler`` for each stream of ``protocol`` opened by a peer that ``admit`` accepts.

        At most ``concurrency`` streams of a peer are served at once, 16 times that in all; others are reset.
        A handler that raises has its stream reset; ``p2p.protocol`` and ``encoding.invalid`` are reported as
        misbehaviour.
        """
        running: Counter[str] = Counter()

        async def serve_stream(stream: INetStream) -> None:
            channel = Channel(stream, deadline=deadline, meter=self._metering(protocol))
            crowded = running[channel.peer] >= concurrency or running.total() >= concurrency * PROTOCOL_FACTOR
            if crowded or not admit(channel.peer):
                await channel.abort()
                return
            running[channel.peer] += 1
            try:
                await self._handle(protocol, handler, channel)
            finally:
                running[channel.peer] -= 1
                if not running[channel.peer]:
                    del running[channel.peer]

        self._host.set_stream_handler(protocol, serve_stream)

    @asynccontextmanager
    async def open(self, peer: str, protocol: str, *, deadline: float) -> AsyncIterator[Channel]:
        """A channel to a connected peer, closed on leaving the block and reset if it is left by an exception.

        Raises ``p2p.unreachable`` if the peer is not connected, refuses or does not speak ``protocol``.
        """
        channel = await self.channel(peer, protocol, deadline=deadline)
        async with self.reset_on_error(channel, protocol):
            yield channel
        await channel.close()

    @asynccontextmanager
    async def reset_on_error(self, channel: Channel, protocol: str) -> AsyncIterator[None]:
        """Reset the channel if the block is left by an exception; what breaks the rules is reported as misbehaviour."""
        try:
            yield
        except BaseException as error:
            await channel.abort()
            if isinstance(error, (ProtocolViolation, EncodingError)):
                self._report(channel.peer, protocol, error)
            raise

    async def channel(self, peer: str, protocol: str, *, deadline: float) -> Channel:
        """As :meth:`open`, for whoever keeps the channel, and closes it."""
        if peer not in self.connected():
            raise Unreachable(f"{peer} is not connected")
        # Shielded: a cancellation between libp2p's steps would leave half a stream behind for good.
        scope = shielded(CLEANUP if self._closing else deadline)
        self._opening.add(scope)
        try:
            with scope:
                stream = await self._host.new_stream(ID.from_base58(peer), [protocol])
                return Channel(stream, deadline=deadline, meter=self._metering(protocol))
        except (BaseLibp2pError, ValueError) as error:
            raise Unreachable(f"{peer} does not take {protocol}: {error}") from error
        finally:
            self._opening.discard(scope)
        raise PeerTimeout(f"{peer} did not open {protocol} within {deadline:g} s")

    async def connect(self, address: str, *, deadline: float) -> str:
        """Connect to a multiaddr that ends in ``/p2p/<peer id>``; returns the peer, whose key is then proven.

        Success does not mean that the other side keeps us: it may have reached its limits. With a peer that is
        connected already nothing is dialled, so the address is not proven. Raises ``peer.denied``.
        """
        try:
            with trio.fail_after(deadline):
                info = await info_of(address)
        except trio.TooSlowError:
            raise PeerTimeout(f"nobody told the address of {address} within {deadline:g} s") from None
        except OSError as error:
            raise Unreachable(f"the name in {address} is not known: {error}") from None
        except Exception as error:  # multiaddr has no common base for its errors
            raise Unreachable(f"not an address of a peer: {address!r} ({error})") from None
        if info.peer_id == self._host.get_id():
            raise Unreachable("that is the address of this node")
        self.require_permitted(str(info.peer_id))
        self._host.get_peerstore().clear_addrs(info.peer_id)  # or a stale address may be dialled instead
        self._network.unblock_peer(info.peer_id)  # refused for 60 s after a failure; backoff is the caller's
        try:
            with trio.fail_after(deadline):
                await self._host.connect(info)
        except trio.TooSlowError:
            raise PeerTimeout(f"no connection to {address} within {deadline:g} s") from None
        except (BaseLibp2pError, OSError) as error:
            raise Unreachable(f"no connection to {address}: {error}") from error
        return str(info.peer_id)

    def require_permitted(self, peer: str) -> None:
        """Raises ``peer.denied`` for a peer that the lists of this node keep out."""
        if not self._permitted(peer):
            raise PeerDenied(f"{peer} is kept out by a rule of this node", hint="see `atoll peer rules`")

    async def disconnect(self, peer: str) -> None:
        """Close every connection to ``peer``."""
        with shielded(CLOSING):
            await self._network.close_peer(ID.from_base58(peer))

    def hasten(self) -> None:
        """The network is closing: streams that are being opened are not waited for."""
        self._closing = True
        for scope in self._opening:
            scope.deadline = min(scope.deadline, trio.current_time() + CLEANUP)

    def connected(self) -> set[str]:
        """The peers with an open connection, whoever dialled."""
        return {str(peer) for peer in self._network.connections}

    def relayed(self) -> frozenset[str]:
        """The connected peers to whom no connection is direct."""
        direct = {
            peer
            for peer, connections in self._network.connections.items()
            if any(each.muxed_conn.get_connection_type() == ConnectionType.DIRECT for each in connections)
        }
        return frozenset(str(peer) for peer in self._network.connections if peer not in direct)

    def _metering(self, protocol: str) -> Meter:
        """Tells both of those who want to know of the bytes of a stream."""

        def count(peer: str, received: int, sent: int) -> None:
            if self._meter is not None:
                self._meter(peer, received, sent)
            if self._on_traffic is not None:
                self._on_traffic(protocol, received, sent)

        return count

    async def _handle(self, protocol: str, handler: Handler, channel: Channel) -> None:
        """What happens within carries the peer and the protocol in the log."""
        fields = {"peer": channel.peer, "protocol": protocol}
        with journal.only(**fields):
            try:
                await handler(channel)
                await _linger(channel)
                return
            except (ProtocolViolation, EncodingError) as error:
                self._report(channel.peer, protocol, error)
            except (ChannelClosed, PeerTimeout) as error:
                log.debug("a served stream ended: %s", error, extra=fields)
            except Exception as error:  # the outermost edge of the handler
                log.error("a stream handler failed: %r", error, extra=fields, exc_info=error)
            await channel.abort()

    def _report(self, peer: str, protocol: str, error: AtollError) -> None:
        """The log has the code alone: what the error says may be the peer's own words."""
        log.warning("a peer misbehaved", extra={"peer": peer, "protocol": protocol, "code": error.code})
        if self._on_misbehaviour is not None:
            self._on_misbehaviour(peer, f"{protocol}: {error}")


class _Watcher(INotifee):  # type: ignore[misc]
    """Turns events per connection, of which a peer may have several, into events per peer."""

    def __init__(
        self,
        network: INetwork,
        on_connected: Callable[[str], None] | None,
        on_disconnected: Callable[[str], None] | None,
    ) -> None:
        self._on_connected = on_connected
        self._on_disconnected = on_disconnected
        self._live = set(network.connections)

    async def connected(self, network: INetwork, conn: INetConn) -> None:
        peer = conn.muxed_conn.peer_id
        if peer not in self._live:
            self._live.add(peer)
            _tell(self._on_connected, str(peer))

    async def disconnected(self, network: INetwork, conn: INetConn) -> None:
        peer = conn.muxed_conn.peer_id
        if peer in self._live and not network.get_connections(peer):
            self._live.discard(peer)
            _tell(self._on_disconnected, str(peer))

    async def opened_stream(self, network: INetwork, stream: INetStream) -> None: ...

    async def closed_stream(self, network: INetwork, stream: INetStream) -> None: ...

    async def listen(self, network: INetwork, multiaddr: Multiaddr) -> None: ...

    async def listen_close(self, network: INetwork, multiaddr: Multiaddr) -> None: ...


def _tell(callback: Callable[[str], None] | None, peer: str) -> None:
    if callback is None:
        return
    try:
        callback(peer)
    except Exception as error:  # a callback must not tear down the connection it is told about
        log.error("a connection callback failed: %r", error, extra={"peer": peer}, exc_info=error)


async def _linger(channel: Channel) -> None:
    """Close after the answer and wait for the peer's end, so that neither side keeps half a stream."""
    with trio.move_on_after(LINGER):
        try:
            await channel.finish()
            await channel._take(1)
        except (ChannelClosed, BaseLibp2pError):
            await channel.close()
            return
    await channel.abort()


def _length_prefix(length: int) -> bytes:
    prefix = bytearray()
    while length >= 0x80:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix)
