"""Predictions over the network, both ends: rows in frames that are sent while others are being answered.

The asker keeps a few streams to an owner open for as long as somebody predicts there; the owner reads ahead, so that a
model that takes its time stalls no stream. An owner that dies is seen when its connection breaks, else by pings.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Self
from weakref import WeakValueDictionary

import msgspec
import numpy as np
import trio
from atoll.engine.encoding import Array
from atoll.engine.errors import AtollError, DimensionMismatch
from atoll.node.p2p.errors import ChannelClosed, PeerTimeout, ProtocolViolation
from atoll.node.p2p.exchange import Answer
from atoll.node.p2p.streams import Channel, Streams
from atoll.protocol import limits
from atoll.protocol.errors import ProtocolError
from atoll.protocol.messages import PeerRefused, Refusal, decode, encode, expect
from atoll.protocol.predict import IN_FLIGHT, PROTOCOL, Pace, Prediction, PredictRequest
from numpy.typing import NDArray

DEADLINE = 45.0  # seconds for each frame: a model may have to be loaded, or to wait for others
STREAMS = 4  # to one owner at a time; it serves 8 of a peer
IDLE = 5.0  # seconds after which a stream that nobody uses is not used again: its owner may have ended it
SILENCE = 10.0  # seconds for which an owner waits for a request
AHEAD = 2  # frames an owner reads while it answers one, none of them behind a frame of more than
AHEAD_BYTES = 2 << 20
GRACE = 90.0  # seconds that any number of rows may take
LEAST_ROWS, LEAST_BYTES = 8, 1 << 15  # a second, and what as many rows may take beside it
THREADS, OF_ONE = 64, 4  # predictions for others at a time, and for one of them; most wait for a model

Rows = NDArray[np.float32]


class Answered(NamedTuple):
    """What has come of some rows: ``values`` float32 (n, outputs), NaN where ``rows`` (n,) says that there is none, and
    the ``error`` that has kept those from one, None if there are none."""

    values: Rows
    rows: NDArray[np.bool_]
    error: AtollError | None = None

    @classmethod
    def whole(cls, values: Rows) -> Self:
        return cls(values, np.ones(values.shape[:1], np.bool_))

    @classmethod
    def nothing(cls, rows: int, width: int, error: AtollError | None = None) -> Self:
        return cls(np.full((rows, width), np.nan, np.float32), np.zeros(rows, np.bool_), error)

    @property
    def number(self) -> int:
        """Of rows that have an answer."""
        return int(self.rows.sum())

    def then(self, more: Self) -> Self:
        """With what has come of the rows that had no answer, in their order."""
        values, rows = self.values.copy(), self.rows.copy()
        values[~self.rows], rows[~self.rows] = more.values, more.rows
        return type(self)(values, rows, more.error)


def patience(rows: Rows) -> float:
    """Seconds within which an owner has to answer all of some rows (n, d), however it spreads its answers."""
    return GRACE + len(rows) / LEAST_ROWS + rows.nbytes / LEAST_BYTES


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

    async def predict(self, peer: str, request: PredictRequest, rows: Rows, width: int) -> Answered:
        """``width`` values for each of ``rows`` (n, d), by as many requests like ``request`` as it takes.

        What ends it early, PeerRefused or ``p2p.*``, is told with the answers that have come; the stream is reset then.
        """
        lines = self._lines[peer]
        async with lines.turns:
            try:
                channel = await self._taken(peer, lines)
            except AtollError as error:
                return Answered.nothing(len(rows), width, error)
            exchange = _Exchange(channel, request, rows, width)
            try:
                async with self._streams.reset_on_error(channel, PROTOCOL):
                    await exchange.run()
            except AtollError as error:
                return exchange.answered._replace(error=error)
            if lines.users:
                lines.idle.append((trio.current_time(), channel))
            else:
                await channel.close()
        return exchange.answered

    async def _taken(self, peer: str, lines: _Lines) -> Channel:
        while lines.idle:
            since, channel = lines.idle.pop()
            if trio.current_time() - since < IDLE:
                return channel
            await channel.close()
        return await self._streams.channel(peer, PROTOCOL, deadline=DEADLINE)


class RemoteModel:
    """One learnware at its owner, for one user; from asyncio."""

    def __init__(self, predict: Callable[[Rows], Awaitable[Answered]]) -> None:
        self._predict = predict

    async def predict(self, rows: Rows) -> Answered:
        """float32 (n, outputs) of ``rows`` float32 (n, d): raw units, in the order of the island's features.

        Calls may run at the same time. With PeerRefused, or an error of ``p2p.*``, where only some have an answer; the
        owner may have counted a few of the others.
        """
        if rows.ndim != 2 or not len(rows):
            raise DimensionMismatch(f"rows of shape {rows.shape}: expected at least one row of the island's features")
        return await self._predict(rows)


class _Exchange:
    """Some rows over one channel. They are dealt in a random order, so that every frame looks like the whole: an owner
    judges each by whether it is like what the model was made for, and files are often sorted. After a refusal no more
    are sent, and those that are on the way still count."""

    def __init__(self, channel: Channel, request: PredictRequest, rows: Rows, width: int) -> None:
        self._channel = channel
        self._request = request
        self._rows = rows
        self._order = np.random.default_rng(len(rows)).permutation(len(rows))
        self._pace = Pace(rows.shape[1])
        self._room = trio.Semaphore(IN_FLIGHT)
        self._asked: deque[tuple[float, NDArray[np.intp]]] = deque()  # when, and for which rows
        self._refused: PeerRefused | None = None
        self.answered = Answered.nothing(len(rows), width)

    async def run(self) -> None:
        seconds = patience(self._rows)
        with trio.move_on_after(seconds) as time:
            await together(self._send, self._receive)
        if time.cancelled_caught:
            told = f"{self.answered.number} of {len(self._rows)} rows in {seconds:.0f} s"
            raise PeerTimeout(f"{self._channel.peer} is too slow: it has answered {told}")
        if self._refused is not None:
            raise self._refused

    async def _send(self) -> None:
        start = 0
        while start < len(self._order):
            await self._room.acquire()
            if self._refused is not None:
                return
            chosen = self._order[start : start + self._pace.rows]
            start += len(chosen)
            request = msgspec.structs.replace(self._request, rows=Array.of(self._rows[chosen]))
            self._asked.append((trio.current_time(), chosen))
            await self._channel.send(encode(request))

    async def _receive(self) -> None:
        left, before = len(self._order), 0.0
        while left and not (self._refused is not None and not self._asked):
            data = await self._channel.receive(limits.PREDICT_FRAME)
            if not self._asked:
                raise ProtocolViolation("an answer to nothing")
            asked, chosen = self._asked.popleft()
            await self._keep(chosen, data)
            now = trio.current_time()
            self._pace.answered(now - max(asked, before))
            before, left = now, left - len(chosen)
            self._room.release()

    async def _keep(self, chosen: NDArray[np.intp], data: bytes) -> None:
        try:
            values = await trio.to_thread.run_sync(_values, data, (len(chosen), self.answered.values.shape[1]))
        except PeerRefused as error:
            self._refused = self._refused or error
        else:
            self.answered.values[chosen] = values
            self.answered.rows[chosen] = True


def _values(data: bytes, shape: tuple[int, int]) -> Rows:
    values = expect(data, Prediction, limit=limits.PREDICT_FRAME).values
    if values.dtype != "float32" or values.shape != shape:
        told = f"{values.dtype[:10]} {values.shape[:4]}"
        raise ProtocolViolation(f"{shape[0]} rows were answered with {told}, where {shape[1]} outputs are listed")
    return values.numpy()


class PredictionProvider:
    """The owner's side: requests are decoded, answered by ``answer(peer, request)`` and encoded in a thread, in which
    ``on_answer`` is told: answered or refused."""

    def __init__(self, answer: Answer, on_answer: Callable[[str], None] = lambda outcome: None) -> None:
        self._answer = answer
        self._on_answer = on_answer
        self._threads = trio.CapacityLimiter(THREADS)
        self._turns: WeakValueDictionary[str, trio.CapacityLimiter] = WeakValueDictionary()

    async def answer(self, channel: Channel) -> None:
        """Answer requests in order until the peer closes, and then none any more; garbage becomes a ProtocolViolation,
        for which the peer is blamed."""
        serving = _Serving(channel, self._reply)
        await together(serving.read_ahead, serving.answer)

    async def _reply(self, peer: str, data: bytes) -> bytes:
        async with self._turns.setdefault(peer, trio.CapacityLimiter(OF_ONE)):
            return await trio.to_thread.run_sync(self._answered, peer, data, limiter=self._threads)

    def _answered(self, peer: str, data: bytes) -> bytes:
        try:
            request = decode(data, PredictRequest, limit=limits.PREDICT_FRAME)
        except ProtocolError as error:
            raise ProtocolViolation(error.message) from None
        try:
            reply, outcome = encode(self._answer(peer, request)), "answered"
        except AtollError as error:
            reply, outcome = encode(Refusal.of(error)), "refused"
        self._on_answer(outcome)
        return reply


class _Serving:
    """One stream of requests. Whoever waits for an answer may be silent, anybody else not for long."""

    def __init__(self, channel: Channel, reply: Callable[[str, bytes], Awaitable[bytes]]) -> None:
        self._channel = channel
        self._reply = reply
        self._write, self._read = trio.open_memory_channel[tuple[bytes, trio.Event]](AHEAD)
        self._unanswered = 0
        self._silence = trio.CancelScope()
        self._gone = False

    async def read_ahead(self) -> None:
        async with self._write:
            while True:
                try:
                    await self._arrival()
                    data, answered = await self._channel.receive(limits.PREDICT_FRAME), trio.Event()
                except ChannelClosed:
                    self._gone = True
                    return
                self._unanswered += 1
                await self._write.send((data, answered))
                if len(data) > AHEAD_BYTES:
                    await answered.wait()

    async def answer(self) -> None:
        async for data, answered in self._read:
            if self._gone:
                return
            await self._channel.send(await self._reply(self._channel.peer, data))
            answered.set()
            self._unanswered -= 1
            self._bound_silence()

    async def _arrival(self) -> None:
        with trio.CancelScope() as self._silence:
            self._bound_silence()
            await self._channel.arrived()
        if self._silence.cancelled_caught:
            raise PeerTimeout(f"no request from {self._channel.peer} for {SILENCE:g} s")

    def _bound_silence(self) -> None:
        self._silence.deadline = math.inf if self._unanswered else trio.current_time() + SILENCE


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
