from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

import base58
import pytest
import trio
from atoll.engine.errors import AtollError
from atoll.node.p2p import errors
from atoll.node.p2p.bridge import TrioThread
from atoll.node.p2p.errors import AddressInUse, P2PError, Unreachable
from atoll.node.p2p.host import SteadyYamux, listen_addresses, open_host
from atoll.node.p2p.streams import Streams
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def test_errors_do_not_import_libp2p():
    code = "import sys, atoll.node.p2p.errors; sys.exit('libp2p' in sys.modules or 'trio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_every_error_has_a_code_of_its_own():
    found = [value for value in vars(errors).values() if isinstance(value, type) and value is not AtollError]
    assert all(issubclass(error, AtollError) for error in found)
    assert len({error.code for error in found}) == len(found) == 6
    assert all(error.code in (errors.__doc__ or "") for error in found)


def test_peer_id_is_the_public_key_of_the_seed(run):
    seed = bytes(range(32))
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    expected = base58.b58encode(b"\x00\x24\x08\x01\x12\x20" + public).decode()

    async def scenario():
        async with open_host(seed, "/ip4/127.0.0.1/tcp/0") as host:
            (address,) = listen_addresses(host)
            assert address.endswith(f"/p2p/{expected}")
            assert "/tcp/0/" not in address

    run(scenario)


def test_wildcard_is_told_as_the_addresses_of_the_interfaces(run):
    async def scenario():
        async with open_host(b"a" * 32, "/ip4/0.0.0.0/tcp/0") as host:
            assert listen_addresses(host)
            assert not any("/0.0.0.0/" in address for address in listen_addresses(host))

    run(scenario)


def test_host_may_listen_nowhere(run, hosts, address_of):
    async def scenario():
        async with hosts(1) as (other,), open_host(b"a" * 32, "") as host:
            assert listen_addresses(host) == []
            assert await Streams(host).connect(address_of(other), deadline=5) == str(other.get_id())

    run(scenario)


def test_a_host_whose_closing_is_cut_off_leaves_no_socket_open(run, address_of, monkeypatch):
    monkeypatch.setattr("atoll.node.p2p.host.CLOSING", 0.0)
    before = sockets()

    async def scenario():
        async with open_host(b"a" * 32, "/ip4/127.0.0.1/tcp/0") as one, open_host(b"b" * 32, "") as other:
            await Streams(other).connect(address_of(one), deadline=5)

    run(scenario)
    assert sockets() == before


def sockets():
    """How many sockets this process holds open."""
    return sum(place.is_socket() for place in Path("/proc/self/fd").iterdir())


def test_port_in_use_is_one_clear_error(run, free_port):
    listen = f"/ip4/127.0.0.1/tcp/{free_port}"

    async def scenario():
        async with open_host(b"a" * 32, listen):
            with pytest.raises(AddressInUse, match=str(free_port)):
                async with open_host(b"b" * 32, listen):
                    pass
        async with open_host(b"b" * 32, listen):  # and it is free again
            pass

    run(scenario)


@pytest.mark.parametrize("listen", ["nonsense", "/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/203.0.113.7/tcp/4001"])
def test_address_that_cannot_be_listened_on_is_refused(run, listen):
    async def scenario():
        with pytest.raises(P2PError, match="cannot listen"):
            async with open_host(b"a" * 32, listen):
                pass

    run(scenario)


def test_listener_that_libp2p_cannot_start_is_an_error(run, monkeypatch):
    monkeypatch.setattr("atoll.node.p2p.host._probe", lambda *_: None)

    async def scenario():
        with pytest.raises(P2PError, match="cannot listen"):
            async with open_host(b"a" * 32, "/ip4/203.0.113.7/tcp/4001"):
                pass

    run(scenario)


def test_failure_inside_a_connection_ends_only_that(run, hosts, address_of):
    async def fails():
        raise ZeroDivisionError("inside the muxer")

    async def scenario():
        async with hosts(2) as (server, client):
            streams = Streams(client)
            Streams(server).serve("/echo", echo, deadline=5, admit=lambda peer: True)
            peer = await streams.connect(address_of(server), deadline=5)
            (connection,) = client.get_network().get_connections()
            connection.muxed_conn._nursery.start_soon(fails)
            while streams.connected():
                await trio.lowlevel.checkpoint()
            await streams.connect(address_of(server), deadline=5)
            async with streams.open(peer, "/echo", deadline=5) as channel:
                await channel.send(b"alive")
                assert await channel.receive(5) == b"alive"

    run(scenario)


def test_inbound_slots_are_free_again_after_disconnects(run, hosts, address_of):
    """libp2p keeps the slot of every inbound connection ever made; ours come back."""

    async def scenario():
        async with hosts(1, max_connections=2) as (server,), hosts(1) as (client,):
            gone = trio.Event()

            def on_disconnected(_peer):
                gone.set()

            watch, streams = Streams(server, on_disconnected=on_disconnected), Streams(client)
            for _ in range(4):
                gone = trio.Event()
                peer = await streams.connect(address_of(server), deadline=5)
                await streams.disconnect(peer)
                await gone.wait()
            assert watch.connected() == set()

    run(scenario)


def test_host_can_be_cancelled_at_any_point_of_its_start(run):
    async def scenario():
        for checkpoints in range(1, 40, 2):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel_after, checkpoints, scope)
                    async with open_host(b"a" * 32, "/ip4/127.0.0.1/tcp/0"):
                        await trio.sleep_forever()

    run(scenario)


async def test_host_in_a_trio_thread_serves_asyncio_and_closes_its_connections(address_of):
    """From asyncio to asyncio through two networks, as the daemon does it."""

    async def start(seed, thread, **options):
        async def main(*, task_status):
            async with open_host(seed * 32, "/ip4/127.0.0.1/tcp/0") as host:
                task_status.started((host, Streams(host, **options)))
                await trio.sleep_forever()

        return await thread.start(main)

    async def shout(frame):
        await asyncio.to_thread(int)
        return frame.upper()

    async def serve(channel):
        await channel.send(await here.call_asyncio(shout, await channel.receive(100)))

    async def ask(peer):
        async with asking.open(peer, "/shout", deadline=5) as channel:
            await channel.send(b"hello")
            return await channel.receive(100)

    here, there, lost = TrioThread(), TrioThread(), threading.Event()
    host, serving = await start(b"h", here, on_disconnected=lambda peer: lost.set())
    _, asking = await start(b"t", there)
    serving.serve("/shout", serve, deadline=5, admit=lambda peer: True)
    peer = await there.call(partial(asking.connect, address_of(host), deadline=5))
    assert await there.call(ask, peer) == b"HELLO"
    await there.aclose()
    assert await asyncio.to_thread(lost.wait, 5)
    await here.aclose()


def test_failing_stream_handler_ends_only_its_stream(run, hosts, address_of, caplog):
    async def scenario():
        async with hosts(2) as (server, client):

            async def fail(stream):
                raise ZeroDivisionError("in a raw handler")

            server.set_stream_handler("/fails", fail)
            streams = Streams(client)
            peer = await streams.connect(address_of(server), deadline=5)
            with pytest.raises((errors.ChannelClosed, Unreachable)):
                async with streams.open(peer, "/fails", deadline=5) as channel:
                    await channel.receive(10)
            async with streams.open(peer, "/ipfs/ping/1.0.0", deadline=5):
                pass

    with caplog.at_level(logging.WARNING, "atoll.p2p"):
        run(scenario)
    assert "ZeroDivisionError" in caplog.text


def test_random_bytes_on_the_port_leave_the_host_serving(run, hosts, address_of):
    async def scenario():
        async with hosts(2) as (server, client):
            port = int(address_of(server).split("/")[4])
            for junk in (
                b"\x00" * 64,
                b"\xff" * 4096,
                b"GET / HTTP/1.1\r\n\r\n",
                b"\x13/multistream/1.0.0\n" * 50,
            ):
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                async with stream:
                    await stream.send_all(junk)
                    await stream.send_eof()
            await Streams(client).connect(address_of(server), deadline=5)

    run(scenario)


def test_cancelled_writes_do_not_break_the_connection(run, hosts, address_of):
    """Cancelled between Noise's encryption and the socket, a write would desynchronise both ends."""

    async def scenario():
        async with hosts(2) as (server, client):
            streams = Streams(client)
            Streams(server).serve("/echo", echo, deadline=10, admit=lambda peer: True)
            peer = await streams.connect(address_of(server), deadline=5)

            async def cancelled_early(checkpoints):
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(cancel_after, checkpoints, scope)
                        async with streams.open(peer, "/echo", deadline=5) as channel:
                            await channel.send(b"x" * 100_000)
                            await channel.receive(200_000)

            for checkpoints in range(1, 120, 3):
                await cancelled_early(checkpoints)
            async with streams.open(peer, "/echo", deadline=5) as channel:
                await channel.send(b"still here")
                assert await channel.receive(100) == b"still here"

    run(scenario)


def test_peer_that_floods_an_unread_stream_is_cut_off(run, hosts, address_of, monkeypatch):
    monkeypatch.setattr("atoll.node.p2p.host.BUFFER_LIMIT", 1024 * 1024)

    async def scenario():
        async with hosts(2) as (server, client):
            lost = trio.Event()
            serving = Streams(server, on_disconnected=lambda peer: lost.set())
            serving.serve("/idle", idle, deadline=5, admit=lambda peer: True)
            streams = Streams(client)
            peer = await streams.connect(address_of(server), deadline=5)
            with suppress(errors.ChannelClosed):
                async with streams.open(peer, "/idle", deadline=5) as channel:
                    channel._stream.muxed_stream.send_window = 1 << 30  # ignore what the server allows
                    await channel.send(b"x" * 8 * 1024 * 1024)
                    await channel.receive(1)
            await lost.wait()
            assert serving.connected() == set()
            await Streams(client).connect(address_of(server), deadline=5)

    run(scenario)


def test_connecting_to_nobody_and_to_oneself_is_unreachable(run, hosts, address_of, free_port):
    async def scenario():
        async with hosts(2) as (host, other):
            streams = Streams(host)
            nobody = f"/ip4/127.0.0.1/tcp/{free_port}/p2p/{other.get_id()}"
            for address in (nobody, address_of(host), "/ip4/127.0.0.1/tcp/1", "x"):
                with pytest.raises(Unreachable):
                    await streams.connect(address, deadline=5)
            await streams.connect(address_of(other), deadline=5)  # no penalty for the peer that was not there

    run(scenario)


def test_host_at_another_key_is_not_taken_for_the_peer(run, hosts, address_of):
    async def scenario():
        async with hosts(3) as (host, expected, actual):
            address = address_of(actual).replace(str(actual.get_id()), str(expected.get_id()))
            with pytest.raises(Unreachable):
                await Streams(host).connect(address, deadline=5)

    run(scenario)


def test_peer_that_answers_no_ping_is_taken_for_gone(run, hosts, address_of, monkeypatch):
    monkeypatch.setattr("atoll.node.p2p.host.PING_EVERY", 0.05)
    monkeypatch.setattr("atoll.node.p2p.host.PONG_WITHIN", 0.3)

    async def nothing(data):
        await trio.lowlevel.checkpoint()

    async def scenario():
        async with hosts(2) as (server, client):
            lost = trio.Event()
            serving = Streams(server, on_disconnected=lambda peer: lost.set())
            await Streams(client).connect(address_of(server), deadline=5)
            for connection in client.get_network().get_connections():
                connection.muxed_conn._write_frame = nothing  # as if the machine had lost its power
            await lost.wait()
            assert serving.connected() == set()

    run(scenario, seconds=10)


def test_peer_that_answers_pings_stays(run, hosts, address_of, monkeypatch):
    monkeypatch.setattr("atoll.node.p2p.host.PING_EVERY", 0.001)

    async def scenario():
        async with hosts(2) as (server, client):
            streams = Streams(client)
            peer = await streams.connect(address_of(server), deadline=5)
            (connection,) = client.get_network().get_connections()
            while connection.muxed_conn._ping_id < 50:
                await trio.lowlevel.checkpoint()
            assert streams.connected() == {peer}
            assert connection.muxed_conn.rtt() > 0

    run(scenario)


def test_stalled_write_ends_the_connection(run, monkeypatch):
    monkeypatch.setattr("atoll.node.p2p.host.WRITE_STALL", 0.05)

    class Wall:
        closed = False

        async def write(self, data):
            await trio.sleep_forever()

        async def close(self):
            self.closed = True

    async def scenario():
        wall = Wall()
        muxer = SteadyYamux(wall, None, is_initiator=True)
        with pytest.raises(Exception, match="took no bytes"):
            await muxer._write_frame(b"x" * 20)
        assert wall.closed

    run(scenario)


async def echo(channel):
    while True:
        await channel.send(await channel.receive(1_000_000))


async def idle(channel):
    await trio.sleep_forever()


async def cancel_after(checkpoints, scope):
    for _ in range(checkpoints):
        await trio.lowlevel.checkpoint()
    scope.cancel()
