"""Request and response over a channel: one message in, one message out, errors as refusals."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import trio
from atoll.engine.errors import AtollError
from atoll.node.p2p.errors import ChannelClosed, ProtocolViolation
from atoll.node.p2p.peers import Peers
from atoll.node.p2p.streams import Channel, Handler, Streams
from atoll.protocol import limits
from atoll.protocol.errors import ProtocolError
from atoll.protocol.messages import Message, Refusal, decode, encode, expect
from atoll.protocol.policy import USER, Asker

AT_ONCE = 64 * 1024  # bytes; a longer reply is read in a thread, others go on meanwhile
CONTROL_DEADLINE = 10.0  # seconds for what is small and answered from memory
M = TypeVar("M", bound=Message)
Answer = Callable[[str, Any], Message]


async def receive_request(channel: Channel, type_: Any, limit: int) -> Any:
    """The next request; garbage becomes a ProtocolViolation, for which the peer is blamed."""
    try:
        return decode(await channel.receive(limit), type_, limit=limit)
    except ProtocolError as error:
        raise ProtocolViolation(error.message) from None


async def serve_requests(channel: Channel, type_: Any, answer: Answer, *, limit: int) -> None:
    """Answer requests until the peer closes. ``answer(peer, request)`` blocks, so it runs in a worker thread."""
    while True:
        try:
            request = await receive_request(channel, type_, limit)
        except ChannelClosed:
            return
        try:
            reply = await trio.to_thread.run_sync(answer, channel.peer, request)
        except AtollError as error:
            reply = Refusal.of(error)
        await channel.send(encode(reply))


def requests(type_: Any, answer: Answer) -> Handler:
    """A handler that answers requests of this type."""

    async def handler(channel: Channel) -> None:
        await serve_requests(channel, type_, answer, limit=limits.CONTROL_FRAME)

    return handler


def shares(peers: Peers, answer: Callable[[Asker, Any], Message]) -> Answer:
    """Refuse requests in a federation that the peer has not proven to be in."""

    def checked(peer: str, message: Any) -> Message:
        return answer(asker(peers, peer, message), message)

    return checked


def asker(peers: Peers, peer: str, message: Any) -> Asker:
    """Who sends a message in a federation, once the peer has proven to be in that."""
    peers.require_shared(peer, message.federation)
    return Asker(peer, message.user[:USER])


async def request(channel: Channel, message: Message, type_: type[M], *, limit: int) -> M:
    """Send ``message`` and return the reply; PeerRefused if the peer says no."""
    await channel.send(encode(message))
    data = await channel.receive(limit)
    if len(data) <= AT_ONCE:
        return expect(data, type_, limit=limit)
    return await trio.to_thread.run_sync(partial(expect, data, type_, limit=limit))


async def ask(
    streams: Streams, peer: str, protocol: str, message: Message, type_: type[M], limit: int, deadline: float
) -> M:
    """One request on a stream of its own."""
    async with streams.open(peer, protocol, deadline=deadline) as channel:
        return await request(channel, message, type_, limit=limit)
