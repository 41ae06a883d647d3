"""Rows in frames over a stream, with owners of this version, of the one before, slow, gone, or lying."""

import threading

import msgspec
import numpy as np
import pytest
import trio
from atoll.engine.encoding import Array
from atoll.engine.errors import AtollError, EncodingError
from atoll.node.p2p import prediction
from atoll.node.p2p.errors import ChannelClosed, PeerTimeout, ProtocolViolation
from atoll.node.p2p.exchange import ask, serve_requests
from atoll.node.p2p.prediction import PredictionProvider, Predictions
from atoll.protocol import limits
from atoll.protocol.errors import OffSpecification
from atoll.protocol.messages import PeerRefused, encode
from atoll.protocol.predict import FRAME_ROWS, NO_ROWS, PROTOCOL, Pace, Prediction, PredictRequest

REQUEST = PredictRequest(bytes(32), bytes(32), bytes(32), NO_ROWS, "u")
ROWS = np.arange(60_000, dtype=np.float32).reshape(-1, 3)


def doubled(peer, request):
    return Prediction(Array.of(request.rows.numpy() * 2))


async def answered(predictions, peer, rows=ROWS):
    return whole(await predictions.predict(peer, REQUEST, rows, 3))


def whole(said):
    if said.error is not None:
        raise said.error
    assert said.rows.all()
    return said.values


async def asked(client, peer, rows=ROWS):
    predictions = Predictions(client)
    await predictions.begin(peer)
    try:
        return await predictions.predict(peer, REQUEST, rows, 3)
    finally:
        await predictions.end(peer)


async def predicted(client, peer, rows=ROWS):
    return whole(await asked(client, peer, rows))


def serve(server, answer):
    server.serve(PROTOCOL, PredictionProvider(answer).answer, deadline=5, admit=lambda _: True, concurrency=8)


def test_every_row_gets_its_own_answer_and_frames_are_bounded(run, linked):
    frames = []

    def answer(peer, request):
        frames.append(request.rows.shape[0])
        return doubled(peer, request)

    async def scenario():
        async with linked() as (server, client, peer):
            serve(server, answer)
            assert (await predicted(client, peer) == ROWS * 2).all()

    run(scenario)
    assert sum(frames) == len(ROWS)
    assert max(frames) <= FRAME_ROWS
    assert len(frames) > 4


def test_every_frame_looks_like_the_whole_however_the_rows_are_sorted(run, linked):
    means = []

    def answer(peer, request):
        rows = request.rows.numpy()
        means.append(rows[:, 0].mean() / ROWS[:, 0].mean() if len(rows) > 500 else 1.0)
        return doubled(peer, request)

    async def scenario():
        async with linked() as (server, client, peer):
            serve(server, answer)
            await predicted(client, peer)

    run(scenario)
    assert np.allclose(means, 1, atol=0.15)


def test_an_owner_of_the_version_before_answers_one_by_one(run, linked):
    async def one_by_one(channel):
        await serve_requests(channel, PredictRequest, doubled, limit=limits.PREDICT_FRAME)

    async def scenario():
        async with linked() as (server, client, peer):
            server.serve(PROTOCOL, one_by_one, deadline=5, admit=lambda _: True)
            assert (await predicted(client, peer) == ROWS * 2).all()

    run(scenario)


def test_an_asker_of_the_version_before_sends_all_rows_at_once(run, linked):
    async def scenario():
        async with linked() as (server, client, peer):
            serve(server, doubled)
            rows = np.zeros((100_000, 70), np.float32)  # 28 MB
            request = PredictRequest(bytes(32), bytes(32), bytes(32), Array.of(rows))
            reply = await ask(client, peer, PROTOCOL, request, Prediction, limits.PREDICT_FRAME, 20)
            assert reply.values.shape == (100_000, 70)

    run(scenario)


def test_a_stream_is_kept_and_never_more_than_four(run, linked):
    opened, most, now, lock = [], [], [0], threading.Lock()

    def answer(peer, request):
        with lock:
            now[0] += 1
            most.append(now[0])
        reply = doubled(peer, request)
        with lock:
            now[0] -= 1
        return reply

    async def scenario():
        async with linked() as (server, client, peer):
            provider = PredictionProvider(answer)

            async def noted(channel):
                opened.append(channel)
                await provider.answer(channel)

            server.serve(PROTOCOL, noted, deadline=5, admit=lambda _: True, concurrency=8)
            predictions = Predictions(client)
            await predictions.begin(peer)
            for _ in range(3):
                await answered(predictions, peer, ROWS[:10])
            assert len(opened) == 1
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(answered, predictions, peer, ROWS[:2000])
            assert 1 < len(opened) <= 4
            await predictions.end(peer)
            assert not predictions._lines

    run(scenario)
    assert max(most) <= 4


def test_a_peer_with_a_slow_model_holds_up_nobody_else(run):
    go, begun, lock, most = threading.Event(), threading.Semaphore(0), threading.Lock(), [0, 0]

    def answer(peer, request):
        if peer == "slow":
            with lock:
                most[0] += 1
                most[1] = max(most)
            begun.release()
            assert go.wait(20)
            with lock:
                most[0] -= 1
        return doubled(peer, request)

    async def scenario():
        provider, data = PredictionProvider(answer), encode(msgspec.structs.replace(REQUEST, rows=Array.of(ROWS[:9])))
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(provider._reply, "slow", data)
            for _ in range(prediction.OF_ONE):
                await trio.to_thread.run_sync(begun.acquire)
            assert await provider._reply("other", data)
            go.set()

    run(scenario)
    assert most == [0, prediction.OF_ONE]


def test_a_model_that_takes_longer_than_silence_is_waited_for(run, linked, monkeypatch):
    monkeypatch.setattr(prediction, "SILENCE", 0.2)
    go = threading.Event()

    def answer(peer, request):
        assert go.wait(20)
        return doubled(peer, request)

    async def scenario():
        async with linked() as (server, client, peer):
            serve(server, answer)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(predicted, client, peer)
                await trio.sleep(0.6)
                go.set()
            predictions = Predictions(client)
            await predictions.begin(peer)
            await answered(predictions, peer, ROWS[:10])
            await trio.sleep(0.6)  # now nobody waits for anything
            with pytest.raises(ChannelClosed):
                await answered(predictions, peer, ROWS[:10])

    run(scenario)


def test_a_refusal_ends_it_and_the_next_call_is_answered(run, linked):
    def answer(peer, request):
        if request.rows.numpy()[0, 0] < 0:
            raise OffSpecification("unlike the data")
        return doubled(peer, request)

    async def scenario():
        async with linked() as (server, client, peer):
            serve(server, answer)
            predictions = Predictions(client)
            await predictions.begin(peer)
            with pytest.raises(PeerRefused) as refused:
                await answered(predictions, peer, -1 - ROWS)
            assert refused.value.code == "policy.off_spec"
            assert (await answered(predictions, peer, ROWS) == ROWS * 2).all()

    run(scenario)


def test_what_was_answered_before_and_after_a_refusal_stays(run, linked):
    frames = []

    def answer(peer, request):
        frames.append(request.rows.shape[0])
        if len(frames) == 2:
            raise OffSpecification("unlike the data")
        return doubled(peer, request)

    async def scenario():
        async with linked() as (server, client, peer):
            serve(server, answer)
            said = await asked(client, peer)
            assert said.error.code == "policy.off_spec"
            assert said.number == sum(frames) - frames[1]
            assert (said.values[said.rows] == ROWS[said.rows] * 2).all()
            assert np.isnan(said.values[~said.rows]).all()
            rest = await predicted(client, peer, ROWS[~said.rows])
            assert (rest == ROWS[~said.rows] * 2).all()

    run(scenario)


def test_an_owner_below_the_least_pace_is_left_with_what_it_has_answered(run, linked, monkeypatch):
    monkeypatch.setattr(prediction, "GRACE", 1.0)
    monkeypatch.setattr(prediction, "LEAST_ROWS", 1e9)
    monkeypatch.setattr(prediction, "LEAST_BYTES", 1e12)
    go, frames = threading.Event(), []

    def answer(peer, request):
        frames.append(request.rows.shape[0])
        assert len(frames) == 1 or go.wait(20)
        return doubled(peer, request)

    async def scenario():
        async with linked() as (server, client, peer):
            serve(server, answer)
            said = await asked(client, peer)
            go.set()
            assert isinstance(said.error, PeerTimeout)
            assert f"{frames[0]} of {len(ROWS)} rows in 1 s" in said.error.message
            assert said.number == frames[0]

    run(scenario)


def lies():
    nan = np.full((512, 3), np.nan, np.float32)
    return {
        "more outputs than are listed": (Prediction(Array.of(np.zeros((512, 4), np.float32))), ProtocolViolation),
        "fewer rows": (Prediction(Array.of(np.zeros((5, 3), np.float32))), ProtocolViolation),
        "another type": (Prediction(Array.of(np.zeros((512, 3), np.float64))), ProtocolViolation),
        "not numbers": (Prediction(Array.of(nan)), EncodingError),
        "another message": (REQUEST, AtollError),
    }


@pytest.mark.parametrize("lie", lies())
def test_an_owner_that_answers_nonsense_is_told_so(run, linked, lie):
    reply, error = lies()[lie]

    async def liar(channel):
        while True:
            await channel.receive(limits.PREDICT_FRAME)
            await channel.send(encode(reply))

    async def scenario():
        async with linked() as (server, client, peer):
            server.serve(PROTOCOL, liar, deadline=5, admit=lambda _: True)
            with pytest.raises(error):
                await predicted(client, peer)

    run(scenario)


def test_an_owner_that_changes_its_outputs_or_answers_nothing_or_leaves(run, linked, monkeypatch):
    monkeypatch.setattr(prediction, "DEADLINE", 0.5)
    widths = iter([3, 3, 2])

    def changing(peer, request):
        return Prediction(Array.of(request.rows.numpy()[:, : next(widths, 3)]))

    async def silent(channel):
        await trio.sleep_forever()

    async def leaving(channel):
        await channel.receive(limits.PREDICT_FRAME)

    async def scenario():
        async with linked() as (server, client, peer):
            serve(server, changing)
            with pytest.raises(ProtocolViolation, match="outputs"):
                await predicted(client, peer)
            for handler, error in ((silent, PeerTimeout), (leaving, ChannelClosed)):
                server.serve(PROTOCOL, handler, deadline=5, admit=lambda _: True)
                with pytest.raises(error):
                    await predicted(client, peer)

    run(scenario)


def test_a_cancelled_call_leaves_no_stream_and_the_owner_stops(run, linked):
    go, frames, ended = threading.Event(), [], trio.Event()

    def answer(peer, request):
        frames.append(request.rows.shape[0])
        assert go.wait(20)
        return doubled(peer, request)

    async def scenario():
        async with linked() as (server, client, peer):
            provider = PredictionProvider(answer)

            async def noted(channel):
                try:
                    await provider.answer(channel)
                finally:
                    ended.set()

            server.serve(PROTOCOL, noted, deadline=5, admit=lambda _: True)
            with trio.move_on_after(0.5):
                await predicted(client, peer)
            go.set()
            await ended.wait()

    run(scenario)
    assert len(frames) == 1


def test_frames_grow_where_the_owner_is_quick_and_shrink_where_it_is_slow():
    pace, sizes = Pace(15), []
    for seconds in (0.1, 0.1, 0.1, 0.1, 1.0, 5.0, 5.0, *[9.0] * 8):
        pace.answered(seconds)
        sizes.append(pace.rows)
    assert sizes[:7] == [1024, 2048, 4096, 4096, 4096, 2048, 1024]
    assert sizes[-1] == 64
    wide = Pace(100_000)
    wide.answered(0.1)
    assert wide.rows == 2  # a megabyte at most
