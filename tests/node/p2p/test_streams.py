from __future__ import annotations

import random
from contextlib import suppress

import pytest
import trio
from atoll.engine.errors import EncodingError
from atoll.node.errors import PeerDenied
from atoll.node.p2p import streams as streams_module
from atoll.node.p2p.errors import ChannelClosed, PeerTimeout, ProtocolViolation, Unreachable
from atoll.node.p2p.streams import Streams

LIMIT = 2_000_000


def everybody(_peer):
    return True


async def echo(channel):
    while True:
        await channel.send(await channel.receive(LIMIT))


async def ask(streams, peer, protocol, frame):
    async with streams.open(peer, protocol, deadline=5) as channel:
        await channel.send(frame)
        return await channel.receive(LIMIT)


def test_frames_of_every_size_arrive_whole_and_in_order(run, linked):
    async def scenario():
        async with linked() as (server, client, peer):
            server.serve("/echo", echo, deadline=10, admit=everybody)
            async with client.open(peer, "/echo", deadline=10) as channel:
                assert channel.peer == peer
                for size in (0, 1, 127, 128, 16_383, 16_384, 300_000, 1_500_000):
                    frame = random.Random(size).randbytes(size)
                    await channel.send(frame)
                    assert await channel.receive(LIMIT) == frame

    run(scenario)


def test_bytes_are_metered_with_their_framing_by_peer(run, linked):
    metered = []

    async def scenario():
        async with linked(meter=lambda *counted: metered.append(counted)) as (server, client, peer):
            server.serve("/echo", echo, deadline=5, admit=everybody)
            await ask(client, peer, "/echo", b"x" * 1000)
            (asker,) = server.connected()
            assert {who for who, *_ in metered} == {asker}
            assert [sum(column) for column in zip(*(counts for _, *counts in metered), strict=True)] == [1002, 1002]

    run(scenario)


def test_closing_does_not_wait_for_a_stream_that_the_peer_does_not_open(run, hosts, address_of, monkeypatch):
    monkeypatch.setattr(streams_module, "CLEANUP", 0.1)

    async def scenario():
        asked = trio.Event()

        async def silence(_stream):
            asked.set()
            await trio.sleep_forever()

        async def ask_in_vain(streams, peer):
            with pytest.raises(PeerTimeout):
                await ask(streams, peer, "/echo", b"")

        async with hosts(2) as (first, second):
            streams = Streams(second)
            peer = await streams.connect(address_of(first), deadline=5)
            first.get_network().set_stream_handler(silence)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask_in_vain, streams, peer)
                await asked.wait()
                started = trio.current_time()
                nursery.cancel_scope.cancel()
                streams.hasten()
            assert trio.current_time() - started < 2

    run(scenario)


def test_nobody_is_dialled_who_is_not_permitted(run, hosts, address_of):
    async def scenario():
        async with hosts(2) as (first, second):
            streams = Streams(second, permitted=lambda peer: peer != str(first.get_id()))
            with pytest.raises(PeerDenied):
                await streams.connect(address_of(first), deadline=5)
            assert streams.connected() == set()

    run(scenario)


def test_request_ends_with_finish_and_the_answer_still_comes(run, linked):
    async def count(channel):
        total = 0
        with suppress(ChannelClosed):
            while True:
                total += len(await channel.receive(LIMIT))
        await channel.send(str(total).encode())

    async def scenario():
        async with linked() as (server, client, peer):
            server.serve("/count", count, deadline=5, admit=everybody)
            async with client.open(peer, "/count", deadline=5) as channel:
                for _ in range(5):
                    await channel.send(b"xy")
                await channel.finish()
                assert await channel.receive(100) == b"10"
                with pytest.raises(ChannelClosed):
                    await channel.receive(100)

    run(scenario)


def test_served_streams_are_gone_afterwards(run, linked):
    async def answer(channel):
        await channel.send(await channel.receive(100))

    async def scenario():
        async with linked() as (server, client, peer):
            server.serve("/answer", answer, deadline=5, admit=everybody)
            for number in range(300):  # more than Yamux has slots for
                async with client.open(peer, "/answer", deadline=5) as channel:
                    await channel.send(b"%d" % number)
                    assert await channel.receive(100) == b"%d" % number
            for network in (server._network, client._network):
                (connection,) = network.get_connections()
                while connection.muxed_conn.streams or network._resource_manager._current_streams:
                    await trio.lowlevel.checkpoint()  # until the last goodbye is handled

    run(scenario)


@pytest.mark.parametrize(
    "junk",
    [
        b"\xff\xff\xff\xff\xff\xff\xff\xff",  # a length without an end
        b"\x85\x00hello",  # not minimal
        b"\xff\xff\xff\xff\x0f",  # 4 GiB
        b"\xe9\x07" + b"x" * 1001,  # one byte over the limit
    ],
)
def test_frame_with_a_bad_length_is_refused_and_reported(run, linked, junk):
    reports = []

    async def small(channel):
        await channel.receive(1000)

    async def scenario():
        reported = trio.Event()

        def report(peer, why):
            reports.append((peer, why))
            reported.set()

        async with linked(on_misbehaviour=report) as (server, client, peer):
            server.serve("/small", small, deadline=5, admit=everybody)
            server.serve("/echo", echo, deadline=5, admit=everybody)
            async with client.open(peer, "/small", deadline=5) as channel:
                await channel._stream.write(junk)
                with pytest.raises(ChannelClosed):
                    await channel.receive(1)
            await reported.wait()
            async with client.open(peer, "/echo", deadline=5) as channel:
                await channel.send(b"alive")
                assert await channel.receive(5) == b"alive"
            assert [who for who, _ in reports] == [str(client._host.get_id())]

    run(scenario)


def test_random_bytes_on_a_served_protocol_leave_it_serving(run, linked):
    async def scenario():
        async with linked() as (server, client, peer):
            server.serve("/echo", echo, deadline=5, admit=everybody)
            dice = random.Random(7)
            for _ in range(40):
                async with client.open(peer, "/echo", deadline=5) as channel:
                    with suppress(ChannelClosed):
                        await channel._stream.write(dice.randbytes(dice.randrange(1, 3000)))
            async with client.open(peer, "/echo", deadline=5) as channel:
                await channel.send(b"alive")
                assert await channel.receive(5) == b"alive"

    run(scenario)


def test_garbage_from_the_serving_side_is_reported_by_the_asking_side(run, hosts, address_of, caplog):
    async def chatter(channel):
        await channel.send(b"x" * 5000)

    async def scenario():
        reports = []
        async with hosts(2) as (first, second):
            Streams(first).serve("/chatter", chatter, deadline=5, admit=everybody)
            client = Streams(second, on_misbehaviour=lambda peer, why: reports.append(peer))
            peer = await client.connect(address_of(first), deadline=5)
            with pytest.raises(ProtocolViolation, match="5000"):
                async with client.open(peer, "/chatter", deadline=5) as channel:
                    await channel.receive(4096)
            assert reports == [peer]
            (line,) = [each for each in caplog.records if "misbehaved" in each.getMessage()]
            told = {name: getattr(line, name) for name in ("peer", "protocol", "code")}
            assert told == {"peer": peer, "protocol": "/chatter", "code": "p2p.protocol"}
            assert "5000" not in line.getMessage()  # nothing that the peer has chosen

    run(scenario)


def test_silent_peer_is_given_up_at_the_deadline(run, linked):
    async def scenario():
        async with linked() as (server, client, peer):
            server.serve("/silent", lambda channel: channel.receive(LIMIT), deadline=20, admit=everybody)
            async with client.open(peer, "/silent", deadline=0.2) as channel:
                with pytest.raises(PeerTimeout):
                    await channel.receive(10)

    run(scenario, seconds=10)


def test_half_a_frame_does_not_hold_a_handler_beyond_the_deadline(run, linked):
    async def scenario():
        gave_up = trio.Event()

        async def patient(channel):
            try:
                await channel.receive(LIMIT)
            except PeerTimeout:
                gave_up.set()
                raise

        async with linked() as (server, client, peer):
            server.serve("/patient", patient, deadline=0.2, admit=everybody)
            async with client.open(peer, "/patient", deadline=5) as channel:
                await channel._stream.write(b"\x64half")
                await gave_up.wait()
                with pytest.raises(ChannelClosed):
                    await channel.receive(1)

    run(scenario, seconds=10)


def test_peer_that_is_not_admitted_is_reset_unread(run, linked):
    served = []

    async def handler(channel):
        served.append(channel.peer)

    async def scenario():
        async with linked() as (server, client, peer):
            server.serve("/private", handler, deadline=5, admit=lambda peer: False)
            with pytest.raises((ChannelClosed, Unreachable)):
                await ask(client, peer, "/private", b"let me in")
            assert served == []

    run(scenario)


@pytest.mark.parametrize("error", [ZeroDivisionError("bug"), EncodingError("not ours"), trio.TooSlowError()])
def test_failing_handler_resets_its_stream_only(run, linked, error, caplog):
    reports = []

    async def fails(channel):
        await channel.receive(10)
        raise error

    async def scenario():
        async with linked(on_misbehaviour=lambda peer, why: reports.append(peer)) as (server, client, peer):
            server.serve("/fails", fails, deadline=5, admit=everybody)
            server.serve("/echo", echo, deadline=5, admit=everybody)
            async with client.open(peer, "/echo", deadline=5) as bystander:
                await bystander.send(b"1")
                async with client.open(peer, "/fails", deadline=5) as channel:
                    await channel.send(b"go")
                    with pytest.raises(ChannelClosed):
                        await channel.receive(10)
                assert await bystander.receive(10) == b"1"

    run(scenario)
    assert bool(reports) == isinstance(error, EncodingError)
    assert [record.protocol for record in caplog.records if record.name == "atoll.p2p" and not reports] == (
        [] if reports else ["/fails"]
    )


def test_streams_of_one_peer_are_bounded(run, linked):
    async def scenario():
        async with linked() as (server, client, peer):
            server.serve("/echo", echo, deadline=5, admit=everybody, concurrency=2)
            async with (
                client.open(peer, "/echo", deadline=5) as one,
                client.open(peer, "/echo", deadline=5) as two,
            ):
                for channel in (one, two):
                    await channel.send(b"x")
                    await channel.receive(1)
                with pytest.raises((ChannelClosed, Unreachable)):
                    await ask(client, peer, "/echo", b"x")

    run(scenario)


def test_unknown_protocol_and_unknown_peer_are_unreachable(run, linked):
    async def scenario():
        async with linked() as (_, client, peer):
            for whom, protocol in ((peer, "/nobody/speaks/this"), (str(client._host.get_id()), "/echo")):
                with pytest.raises(Unreachable):
                    async with client.open(whom, protocol, deadline=5):
                        pass

    run(scenario)


def test_leaving_by_an_exception_breaks_the_stream_off(run, linked):
    async def scenario():
        broken = trio.Event()

        async def wait(channel):
            try:
                await channel.receive(10)
            finally:
                broken.set()

        async with linked() as (server, client, peer):
            server.serve("/wait", wait, deadline=20, admit=everybody)
            with pytest.raises(KeyError):
                async with client.open(peer, "/wait", deadline=5):
                    raise KeyError("mine")
            await broken.wait()

    run(scenario, seconds=10)


def test_both_sides_hear_of_the_connection_and_of_its_end(run, hosts, address_of):
    async def scenario():
        send, events = trio.open_memory_channel(10)
        async with hosts(2) as (first, second):
            names = {str(first.get_id()): "first", str(second.get_id()): "second"}

            def watch(host, name):
                return Streams(
                    host,
                    on_connected=lambda peer: send.send_nowait((name, "up", names[peer])),
                    on_disconnected=lambda peer: send.send_nowait((name, "down", names[peer])),
                )

            dialler, listener = watch(second, "second"), watch(first, "first")
            peer = await dialler.connect(address_of(first), deadline=5)
            assert await dialler.connect(address_of(first), deadline=5) == peer  # no second event
            up = {await events.receive(), await events.receive()}
            assert up == {("first", "up", "second"), ("second", "up", "first")}
            assert {names[p] for p in dialler.connected() | listener.connected()} == {"first", "second"}
            await dialler.disconnect(peer)
            down = {await events.receive(), await events.receive()}
            assert down == {("first", "down", "second"), ("second", "down", "first")}
            assert dialler.connected() == listener.connected() == set()

    run(scenario)


def test_failing_callback_does_not_lose_the_connection(run, hosts, address_of, caplog):
    def fail(_peer):
        raise ZeroDivisionError("callback")

    async def scenario():
        async with hosts(2) as (first, second):
            Streams(first, on_connected=fail).serve("/echo", echo, deadline=5, admit=everybody)
            client = Streams(second, on_connected=fail)
            peer = await client.connect(address_of(first), deadline=5)
            async with client.open(peer, "/echo", deadline=5) as channel:
                await channel.send(b"alive")
                assert await channel.receive(5) == b"alive"

    run(scenario)
    assert "connection callback failed" in caplog.text
