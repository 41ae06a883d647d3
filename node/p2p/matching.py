"""Serving matches: what others ask is decoded, answered and encoded at the desk's threads, never in the trio loop."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

import trio
from atoll.engine.errors import AtollError
from atoll.node.errors import NodeBusy
from atoll.node.p2p.errors import ChannelClosed, ProtocolViolation
from atoll.node.p2p.peers import Peers
from atoll.node.p2p.streams import Channel
from atoll.node.serving import Owner
from atoll.protocol import limits
from atoll.protocol.errors import ProtocolError
from atoll.protocol.match import MatchRequest
from atoll.protocol.messages import Refusal, decode, encode
from atoll.protocol.policy import USER, Asker

T = TypeVar("T")


class MatchProvider:
    """Answers members of shared federations, as many and as often as the desk takes them."""

    def __init__(self, owner: Owner, peers: Peers) -> None:
        self._owner = owner
        self._peers = peers

    async def answer(self, channel: Channel) -> None:
        """Answer requests until the peer closes; garbage becomes a ProtocolViolation, for which the peer is blamed."""
        while True:
            try:
                data = await channel.receive(limits.MATCH_FRAME)
            except ChannelClosed:
                return
            try:
                reply = await finished(self._owner.desk.take(partial(self._matched, channel.peer, data), channel.peer))
            except NodeBusy as error:
                reply = _busy(error)
            await channel.send(reply)

    def _matched(self, peer: str, data: bytes) -> bytes:
        try:
            request: MatchRequest = decode(data, MatchRequest, limit=limits.MATCH_FRAME)
        except ProtocolError as error:
            raise ProtocolViolation(error.message) from None
        try:
            self._peers.require_shared(peer, request.federation)
            return encode(self._owner.match(Asker(peer, request.user[:USER]), request))
        except NodeBusy as error:
            return _busy(error)
        except AtollError as error:
            return encode(Refusal.of(error))


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
