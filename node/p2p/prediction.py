"""Predictions over the network, both ends: rows in frames that are sent while others are being answered.

The asker keeps a few streams to an owner open for as long as somebody predicts there; the owner reads ahead, so that a
model that takes its time stalls no stream. An owner that dies is seen when its connection breaks, else by pings.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec
import numpy as np
import trio
from atoll.engine.encoding import Array
from atoll.engine.errors import AtollError, DimensionMismatch
from atoll.node.p2p.errors import ChannelClosed, ProtocolViolation
from atoll.node.p2p.exchange import Answer
from atoll.node.p2p.streams import Channel, Streams
from atoll.protocol import limits
from atoll.protocol.errors import ProtocolError
from atoll.protocol.messages import Refusal, decode, encode, expect
from atoll.protocol.predict import IN_FLIGHT, PROTOCOL, Pace, Prediction, PredictRequest
from numpy.typing import NDArray

DEADLINE = 45.0  # seconds for each frame: a model may have to be loaded, or to wait for others
STREAMS = 4  # to one owner at a time; it serves 8 of a peer
IDLE = 5.0  # seconds after which a stream that nobody uses is not used again: its owner may have ended it
AHEAD = 2  # frames an owner reads while it answers one, none of them behind a frame of more than
AHEAD_BYTES = 2 << 20
THREADS = 16  # predictions for others at a time; most of them wait for a model

Rows = NDArray[np.float32]


@dataclass
class _Lines:
    """The streams to one owner: as many as there are turns, less those that are not open yet."""

    turns: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(STREAMS))
    idle: list[tuple[float, Channel]] = field(default_factory=list)
    users: int = 0


class Predictions:
    """The asker's side, in the trio loop."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._lines: dict[str, _Lines] = {}

    async def begin(self, peer: str) -> None:
        """Somebody is about to predict at ``peer``: streams to it are kept, until as many have said ``end``."""
        self._lines.setdefault(peer, _Lines()).users += 1

    async def end(self, peer: str) -> None:
        lines = self._lines[peer]
        lines.users -= 1
        if not lines.users:
            del self._lines[peer]
            for _, channel in lines.idle:
                await channel.close()

    async def predict(self, peer: str, request: PredictRequest, rows: Rows) -> Rows:
        """The values (n, outputs) of ``rows`` (n, d), by as many requests like ``request`` as it takes.

        PeerRefused, or ``p2p.*``; then the stream is reset, and nothing is known of any row.
        """
        lines = self._lines[peer]
        async with lines.turns:
            channel = await self._taken(peer, lines)
            async with self._streams.reset_on_error(channel, PROTOCOL):
                values = await _Exchange(channel, request, rows).run()
            if lines.users:
                lines.idle.append((trio.current_time(), channel))
            else:
                await channel.close()
        return values

    async def _taken(self, peer: str, lines: _Lines) -> Channel:
        while lines.idle:
            since, channel = lines.idle.pop()
            if trio.current_time() - since < IDLE:
                return channel
            await channel.close()
        return await self._streams.channel(peer, PROTOCOL, deadline=DEADLINE)


class RemoteModel:
    """One learnware at its owner, for one user; from asyncio."""

    def __init__(self, predict: Callable[[PredictRequest, Rows], Awaitable[Rows]], request: PredictRequest) -> None:
        self._predict = predict
        self._request = request

    async def predict(self, rows: Rows) -> Rows:
        """float32 (n, outputs) of ``rows`` float32 (n, d), raw units, in the order of the island's features.

        Several calls at a time go on beside each other. PeerRefused, or an error of ``p2p.*``: then none of the rows has
        an answer, though the owner may have counted some.
        """
        if rows.ndim != 2 or not len(rows):
            raise DimensionMismatch(f"rows of shape {rows.shape}: expected at least one row of the island's features")
        return await self._predict(self._request, rows)


class _Exchange:
    """Some rows over one channel. They are dealt in a random order, so that every frame looks like the whole: an owner
    judges each by whether it is like what the model was made for, and files are often sorted."""

    def __init__(self, channel: Channel, request: PredictRequest, rows: Rows) -> None:
        self._channel = channel
        self._request = request
        self._rows = rows
        self._order = np.random.default_rng(len(rows)).permutation(len(rows))
        self._pace = Pace(rows.shape[1])
        self._room = trio.Semaphore(IN_FLIGHT)
        self._asked: deque[tuple[float, NDArray[np.intp]]] = deque()  # when, and for which rows
        self._values: Rows | None = None

    async def run(self) -> Rows:
        await together(self._send, self._receive)
        assert self._values is not None  # there is at least one row
        return self._values

    async def _send(self) -> None:
        start = 0
        while start < len(self._order):
            await self._room.acquire()
            chosen = self._order[start : start + self._pace.rows]
            start += len(chosen)
            request = msgspec.structs.replace(self._request, rows=Array.of(self._rows[chosen]))
            self._asked.append((trio.current_time(), chosen))
            await self._channel.send(encode(request))

    async def _receive(self) -> None:
        answered, before = 0, 0.0
        while answered < len(self._order):
            data = await self._channel.receive(limits.PREDICT_FRAME)
            if not self._asked:
                raise ProtocolViolation("an answer to nothing")
            asked, chosen = self._asked.popleft()
            values = await trio.to_thread.run_sync(_values, data, len(chosen))
            self._keep(chosen, values)
            now = trio.current_time()
            self._pace.answered(now - max(asked, before))
            before, answered = now, answered + len(chosen)
            self._room.release()

    def _keep(self, chosen: NDArray[np.intp], values: Rows) -> None:
        if self._values is None:
            self._values = np.empty((len(self._order), values.shape[1]), np.float32)
        if values.shape[1] != self._values.shape[1]:
            raise ProtocolViolation(f"{values.shape[1]} outputs where there were {self._values.shape[1]} before")
        self._values[chosen] = values


def _values(data: bytes, rows: int) -> Rows:
    values = expect(data, Prediction, limit=limits.PREDICT_FRAME).values
    if values.dtype != "float32" or len(values.shape) != 2 or values.shape[0] != rows:
        raise ProtocolViolation(f"{rows} rows were answered with {values.dtype[:10]} {values.shape[:4]}")
    return values.numpy()


@dataclass
class _Asked:
    """A request that has come in."""

    data: bytes
    answered: trio.Event = field(default_factory=trio.Event)


class PredictionProvider:
    """The owner's side: requests are decoded, answered by ``answer(peer, request)`` and encoded in a thread."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._threads = trio.CapacityLimiter(THREADS)

    async def answer(self, channel: Channel) -> None:
        """Answer requests in order until the peer closes, and then none any more; garbage becomes a ProtocolViolation,
        for which the peer is blamed."""
        write, read = trio.open_memory_channel[_Asked](AHEAD)
        gone = trio.Event()
        await together(
            functools.partial(self._read_ahead, channel, write, gone),
            functools.partial(self._answer_all, channel, read, gone),
        )

    async def _read_ahead(self, channel: Channel, write: trio.MemorySendChannel[_Asked], gone: trio.Event) -> None:
        async with write:
            while True:
                try:
                    asked = _Asked(await channel.receive(limits.PREDICT_FRAME))
                except ChannelClosed:
                    gone.set()
                    return
                await write.send(asked)
                if len(asked.data) > AHEAD_BYTES:
                    await asked.answered.wait()

    async def _answer_all(self, channel: Channel, read: trio.MemoryReceiveChannel[_Asked], gone: trio.Event) -> None:
        async for asked in read:
            if gone.is_set():
                return
            reply = await trio.to_thread.run_sync(self._reply, channel.peer, asked.data, limiter=self._threads)
            await channel.send(reply)
            asked.answered.set()

    def _reply(self, peer: str, data: bytes) -> bytes:
        try:
            request = decode(data, PredictRequest, limit=limits.PREDICT_FRAME)
        except ProtocolError as error:
            raise ProtocolViolation(error.message) from None
        try:
            return encode(self._answer(peer, request))
        except AtollError as error:
            return encode(Refusal.of(error))


async def together(*parts: Callable[[], Awaitable[None]]) -> None:
    """Run all of them; the first error of the tree ends the others, and is raised as it is."""
    failures: list[AtollError] = []

    async def contained(part: Callable[[], Awaitable[None]]) -> None:
        try:
            await part()
        except AtollError as error:
            failures.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for part in parts:
            nursery.start_soon(contained, part)
    if failures:
        raise failures[0]
