"""Serving matches: what others ask is decoded, answered and encoded at the desk's threads, never in the trio loop."""

from __future__ import annotations

import contextlib
import logging
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

import trio
from atoll.engine.errors import AtollError
from atoll.node.errors import NodeBusy
from atoll.node.metrics import Metrics
from atoll.node.p2p.errors import ChannelClosed, ProtocolViolation
from atoll.node.p2p.exchange import asker
from atoll.node.p2p.peers import Peers
from atoll.node.p2p.streams import Channel
from atoll.node.serving import Owner
from atoll.protocol import limits
from atoll.protocol.errors import ProtocolError
from atoll.protocol.match import MatchRequest
from atoll.protocol.messages import Refusal, decode, encode

log = logging.getLogger("atoll.p2p")
T = TypeVar("T")


class MatchProvider:
    """Answers members of shared federations, as many and as often as the desk takes them."""

    def __init__(self, owner: Owner, peers: Peers, metrics: Metrics) -> None:
        self._owner = owner
        self._peers = peers
        self._metrics = metrics

    async def answer(self, channel: Channel) -> None:
        """Answer requests until the peer closes; garbage becomes a ProtocolViolation, for which the peer is blamed."""
        while True:
            try:
                data = await channel.receive(limits.MATCH_FRAME)
            except ChannelClosed:
                return
            began = trio.current_time()
            try:
                matched = partial(self._matched, channel.peer, data)
                reply, outcome = await finished(self._owner.desk.take(matched, channel.peer))
            except NodeBusy as error:
                reply, outcome = _busy(error), "busy"
            seconds = trio.current_time() - began
            self._metrics.served_match(outcome, seconds)
            log.debug("a search of a peer has ended", extra={"outcome": outcome, "ms": round(seconds * 1000, 1)})
            await channel.send(reply)

    def _matched(self, peer: str, data: bytes) -> tuple[bytes, str]:
        try:
            request: MatchRequest = decode(data, MatchRequest, limit=limits.MATCH_FRAME)
        except ProtocolError as error:
            raise ProtocolViolation(error.message) from None
        try:
            return encode(self._owner.match(asker(self._peers, peer, request), request)), "answered"
        except NodeBusy as error:
            return _busy(error), "busy"
        except AtollError as error:
            return encode(Refusal.of(error)), "refused"


def _busy(error: NodeBusy) -> bytes:
    """With the words that say when to ask again."""
    return encode(Refusal(error.code, f"{error.message}: {error.hint}"))


async def finished(future: Future[T]) -> T:
    """What comes out of ``future``, which is cancelled with the task that waits for it."""
    done, token = trio.Event(), trio.lowlevel.current_trio_token()

    def tell(_: object) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(done.set)

    future.add_done_callback(tell)
    try:
        await done.wait()
    except BaseException:
        future.cancel()
        raise
    return future.result()
