"""A libp2p host that strangers can reach without being able to end it: TCP, Noise, Yamux, our own key.

Everything here runs in the trio loop. Promises: no stream handler, no half-read frame and no flood of
streams from a peer takes the host down, and a port in use is said so. What is guarded, and why, is in
``SteadyYamux``, ``_guard_streams``, ``_free_inbound_slots`` and ``_remember_dialled``; the facts are those
of libp2p 0.8.1.
"""

from __future__ import annotations

import errno
import logging
import math
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from atoll.node.p2p.errors import AddressInUse, P2PError
from libp2p import new_host
from libp2p.abc import IHost, IMuxedConn, INetStream, IRawConnection, ISecureConn, ITransport
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import StreamHandlerFn
from libp2p.exceptions import BaseLibp2pError
from libp2p.io.trio import TrioTCPStream
from libp2p.network.config import ConnectionConfig
from libp2p.network.connection.exceptions import RawConnError
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.rcmgr import ResourceManager
from libp2p.rcmgr.connection_limits import ConnectionLimits
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_ID
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import FLAG_SYN, TYPE_PING, YAMUX_HEADER_FORMAT, Yamux
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_ID
from libp2p.utils.address_validation import expand_wildcard_address
from multiaddr import Multiaddr

log = logging.getLogger("atoll.p2p")

PING_EVERY = 15.0
PONG_WITHIN = 30.0  # seconds; a slow line that is busy with an upload answers late
WRITE_STALL = 10.0  # seconds a connection may refuse bytes before it is given up
BUFFER_LIMIT = 32 * 1024 * 1024  # bytes received and not yet read, over all streams of a connection
STREAMS_PER_PEER = 128  # inbound, at one time
CLOSING = 5.0  # seconds for closing every connection
CLEANUP = 2.0  # seconds spent on telling a peer that its stream is over


@asynccontextmanager
async def open_host(secret: bytes, listen: str, *, max_connections: int = 256) -> AsyncIterator[IHost]:
    """A running host with the identity of the 32-byte Ed25519 seed ``secret``, listening on ``listen``.

    ``listen`` is a TCP multiaddr, or empty: nowhere; with port 0 the system chooses (see :func:`listen_addresses`).
    Raises ``p2p.address_in_use``, or ``p2p.failed`` if the address cannot be listened on for another reason.
    """
    addresses = [_listen_address(listen)] if listen else []
    keys = create_new_key_pair(secret)
    host = new_host(
        key_pair=keys,
        listen_addrs=addresses,
        sec_opt={NOISE_ID: NoiseTransport(keys, noise_privkey=create_noise_key_pair().private_key)},
        muxer_opt={YAMUX_ID: SteadyYamux},  # decides what is negotiated; see _mux_steadily for the rest
        connection_config=_connection_config(max_connections),
        resource_manager=_resource_manager(max_connections),
        disable_identify_address_discovery=True,
    )
    _guard_streams(host)
    _mux_steadily(host.get_network())
    _free_inbound_slots(host.get_network())
    dialled = _remember_dialled(host.get_network())
    ready, ending = trio.Event(), trio.Event()
    listening = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_run, host, addresses, ready, ending)
        try:
            await ready.wait()
            listening = bool(host.get_network().listeners)  # if it failed, libp2p returns False to nobody
            if listening or not addresses:
                yield host
        finally:
            ending.set()
    for connection in dialled:  # closing was cut off after CLOSING
        connection.stream.socket.close()
    if addresses and not listening:
        raise P2PError(f"cannot listen on {listen}")


def listen_addresses(host: IHost) -> list[str]:
    """Where the host really listens, each with ``/p2p/<peer id>``; in place of a wildcard the interfaces."""
    bound = (place for address in host.get_transport_addrs() for place in expand_wildcard_address(address))
    return [f"{place}/p2p/{host.get_id()}" for place in bound]


class SteadyYamux(Yamux):  # type: ignore[misc]
    """Yamux that survives a cancelled write and whose peer can neither fill the memory nor be dead unseen.

    A write cancelled after Noise has encrypted it leaves both ends with different nonces, which ends every
    stream of the connection; so writes are shielded, and bounded. The stock receive window is only logged.
    """

    async def start(self) -> None:
        try:
            await super().start()
        except Exception as error:  # the outermost edge of the connection; else it ends the host
            log.warning("a connection failed: %r", error, extra={"peer": str(self.peer_id)})
            await self._cleanup_on_error()

    async def _write_frame(self, data: bytes) -> None:
        with shielded(math.inf):
            async with self._write_lock:  # whoever holds it is bounded
                with trio.move_on_after(WRITE_STALL) as scope:
                    await self.secured_conn.write(data)
                if scope.cancelled_caught:
                    await self.secured_conn.close()  # the reader notices and cleans up
                    raise RawConnError(f"the peer took no bytes for {WRITE_STALL:g} s")
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def _measure_rtt_loop(self) -> None:
        """As the stock one, and a peer that does not answer is gone: TCP alone takes a quarter of an hour."""
        while not self.event_shutting_down.is_set():
            self._ping_id += 1
            self._ping_event = trio.Event()
            self._ping_sent_time = trio.current_time()
            ping = struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_PING, FLAG_SYN, 0, self._ping_id)
            try:
                await self._write_frame(ping)
            except BaseLibp2pError:  # closed meanwhile
                return
            with trio.move_on_after(PONG_WITHIN) as scope:
                await self._ping_event.wait()
            if scope.cancelled_caught:
                await self.secured_conn.close()
                return
            with trio.move_on_after(PING_EVERY):
                await self.event_shutting_down.wait()

    async def _read_data_body(self, length: int) -> bytes:
        if length + sum(map(len, self.stream_buffers.values())) > BUFFER_LIMIT:
            raise trio.TooSlowError("the peer sends more than anybody reads")  # closes the connection
        body: bytes = await super()._read_data_body(length)
        return body


async def _run(host: IHost, addresses: list[Multiaddr], ready: trio.Event, ending: trio.Event) -> None:
    """Run until ``ending``; a cancellation would leave the connections and the port open."""
    with shielded(math.inf) as scope:
        async with host.run(listen_addrs=addresses):
            ready.set()
            await ending.wait()
            scope.deadline = trio.current_time() + CLOSING
            network = host.get_network()
            async with trio.open_nursery() as nursery:  # one by one, each takes 0.3 s
                for peer in list(network.connections):
                    nursery.start_soon(network.close_peer, peer)
            await host.close()


def _connection_config(max_connections: int) -> ConnectionConfig:
    return ConnectionConfig(
        max_connections=max_connections,
        min_connections=0,  # with both at 0 libp2p dials nobody on its own
        low_watermark=0,
        high_watermark=max_connections,
        max_connections_per_peer=3,
        inbound_upgrade_timeout=5.0,
    )


def _resource_manager(max_connections: int) -> ResourceManager:
    """Plain limits only: the stock circuit breaker refuses everybody for a minute after five refusals, which
    any stranger can cause, and the memory limits refuse everybody on a machine that is busy with models."""
    limits = ConnectionLimits(
        max_pending_inbound=64,
        max_pending_outbound=64,
        max_established_inbound=max_connections,
        max_established_outbound=max_connections,
        max_established_per_peer=8,
        max_established_total=max_connections,
    )
    return ResourceManager(
        connection_limits=limits,
        enable_memory_limits=False,
        enable_circuit_breaker=False,
        enable_graceful_degradation=False,
    )


def _guard_streams(host: IHost) -> None:
    """Whatever a protocol handler raises, ours or one of libp2p, ends that stream only; floods are reset."""
    inner = host._swarm_stream_handler
    open_streams: Counter[ID] = Counter()

    async def guarded(stream: INetStream) -> None:
        peer = stream.muxed_conn.peer_id
        if open_streams[peer] >= STREAMS_PER_PEER:
            await quiet_reset(stream)
            return
        open_streams[peer] += 1
        try:
            await _contain(inner, stream)
        finally:
            open_streams[peer] -= 1
            if not open_streams[peer]:
                del open_streams[peer]

    host.get_network().set_stream_handler(guarded)


async def _contain(handler: StreamHandlerFn, stream: INetStream) -> None:
    failure: BaseException | None = None
    try:
        await handler(stream)
    except Exception as error:  # the outermost edge of the stream; trio.Cancelled passes
        failure = error
    except BaseExceptionGroup as group:
        ordinary, rest = group.split(Exception)
        if rest is not None:
            raise
        failure = ordinary
    if failure is not None:
        peer, protocol = str(stream.muxed_conn.peer_id), stream.get_protocol()
        log.warning("a stream failed: %r", failure, extra={"peer": peer, "protocol": protocol})
        await quiet_reset(stream)


def shielded(seconds: float) -> trio.CancelScope:
    """A scope that outlives a cancellation around it, but not ``seconds``."""
    return trio.CancelScope(deadline=trio.current_time() + seconds, shield=True)


async def quiet_reset(stream: INetStream) -> None:
    """Reset a stream, also while being cancelled, and whatever state it is in."""
    with shielded(CLEANUP):
        try:
            await stream.reset()
        except Exception as error:  # the connection may be gone
            log.debug("could not reset a stream: %r", error)


def _mux_steadily(swarm: Swarm) -> None:
    """Make connections with our class: libp2p takes its own Yamux, whatever class it was given."""
    multistream = swarm.upgrader.muxer_multistream

    async def new_connection(secured: ISecureConn, peer: ID) -> IMuxedConn:
        timeout = multistream.negotiate_timeout
        protocol, _ = await multistream._selector.select(secured, secured.is_initiator, timeout)
        muxed = SteadyYamux(secured, peer, is_initiator=secured.is_initiator)
        return multistream._annotate_connection(muxed, secured, protocol)

    multistream.new_conn = new_connection


class InboundOver(Exception):
    """Not an error: it lets the task that upgrades an inbound connection end with that connection."""


def _free_inbound_slots(swarm: Swarm) -> None:
    """End libp2p's accepting task with its connection.

    The stock task waits for the end of the swarm, so every inbound connection ever made keeps a task and one
    of ``max_connections`` slots: after that many reconnects a node would accept nobody until it is restarted.
    """
    upgrade = swarm.upgrade_inbound_raw_conn

    async def upgrade_and_wait(raw: IRawConnection, address: Multiaddr) -> IMuxedConn:
        muxed = await upgrade(raw, address)
        for connection in swarm.get_connections(muxed.peer_id):
            if connection.muxed_conn is muxed:
                await connection.event_closed.wait()
        raise InboundOver  # libp2p logs it at debug and closes the socket

    swarm.upgrade_inbound_raw_conn = upgrade_and_wait


def _remember_dialled(swarm: Swarm) -> list[TrioTCPStream]:
    """The connections that this host has opened and not closed; those it has accepted end with libp2p's listener."""
    opened: list[TrioTCPStream] = []

    def remember(transport: ITransport) -> None:
        dial = transport.dial

        async def dial_and_remember(address: Multiaddr) -> IRawConnection:
            raw = await dial(address)
            if isinstance(getattr(raw, "stream", None), TrioTCPStream):  # not one over a relay
                opened[:] = [each for each in opened if each.stream.socket.fileno() >= 0]
                opened.append(raw.stream)
            return raw

        transport.dial = dial_and_remember

    for transport in swarm.transport_manager.get_transports():
        remember(transport)
    return opened


def _listen_address(listen: str) -> Multiaddr:
    """The parsed address, after a look whether it is free: libp2p binds with SO_REUSEPORT, so a second node
    on the same port would start and take half of the connections."""
    try:
        address = Multiaddr(listen)
        ip = address.value_for_protocol("ip6" if listen.startswith("/ip6") else "ip4")
        port = int(address.value_for_protocol("tcp"))
    except Exception as error:  # multiaddr has no common base for its errors
        raise P2PError(f"cannot listen on {listen!r}: {error}", hint="use /ip4/0.0.0.0/tcp/<port>") from None
    if port:
        _probe(listen, ip, port)
    return address


def _probe(listen: str, ip: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ip, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                hint = "stop the other process, or choose another port"
                raise AddressInUse(f"{listen} is in use by another process", hint=hint) from None
            raise P2PError(f"cannot listen on {listen}: {error.strerror}") from None
