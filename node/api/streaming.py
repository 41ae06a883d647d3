"""Answers that come piece by piece; what ends them early is told in their own form, since the status has been sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

import msgspec
from aiohttp import web
from atoll.engine.errors import AtollError
from atoll.node.api.connections import Connection
from atoll.node.api.routing import NODE
from atoll.node.errors import RequestInvalid
from atoll.node.stopping import stopping
from atoll.node.telling import Event, Telling

log = logging.getLogger("atoll.api")

NDJSON, SSE = "application/x-ndjson", "text/event-stream"
Broken = Callable[[str, str], bytes]  # code, words
Writer = Callable[[Event], bytes]


def writer_of(request: web.Request) -> Writer | None:
    """How the events are written that the request accepts; None for the whole answer."""
    accepted = request.headers.get("Accept", "")
    return ndjson if NDJSON in accepted else sse if SSE in accepted else None


def ndjson(event: Event) -> bytes:
    return msgspec.json.encode(event) + b"\n"


def sse(event: Event) -> bytes:
    """As the HTML standard says (server-sent events); JSON has no line breaks."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.id, event.event.encode(), msgspec.json.encode(event.data))


async def follow(request: web.Request, telling: Telling, write: Writer, after: int = 0) -> web.StreamResponse:
    """All that something under way tells, from the event ``after`` on."""
    kind = NDJSON if write is ndjson else SSE
    stream = web.StreamResponse(headers={"Content-Type": kind, "Cache-Control": "no-store"})

    def broken(code: str, words: str) -> bytes:
        return write(Event(0, "error", {"code": code, "detail": words}))

    return await streamed(request, stream, (write(event) async for event in telling.events(after)), broken)


async def streamed(
    request: web.Request, stream: web.StreamResponse, pieces: AsyncIterator[bytes], broken: Broken
) -> web.StreamResponse:
    """Send the pieces as they come, and at the end of those what ``broken`` makes of an error. Whoever has gone may
    come back."""
    node = request.app[NODE]
    with node.limits.stream(request), node.stopping.followed():
        protocol = request.protocol
        gone = protocol.gone if isinstance(protocol, Connection) else asyncio.Event()
        async with aclosing(_until(node.stopping.over, gone, pieces)) as until_over:
            return await _streamed(request, stream, until_over, broken)


async def _streamed(
    request: web.Request, stream: web.StreamResponse, pieces: AsyncIterator[bytes], broken: Broken
) -> web.StreamResponse:
    try:
        await stream.prepare(request)
        try:
            async for piece in pieces:
                await stream.write(piece)
        except AtollError as error:
            await stream.write(broken(error.code, error.message))
        except ConnectionError:
            raise
        except Exception as error:  # the outermost edge: there is no other answer any more
            log.error("a stream broke off", exc_info=error)
            await stream.write(broken("internal", "it failed; the node's log says why"))
        await stream.write_eof()
    except ConnectionError:
        log.debug("whoever followed has gone")
    return stream


async def _until(over: asyncio.Event, gone: asyncio.Event, pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """The pieces that come until it is ``over``, NodeStopping then; ConnectionError once whoever follows has ``gone``,
    so that nobody's place is held while nothing happens."""
    ending = asyncio.ensure_future(over.wait())
    leaving = asyncio.ensure_future(gone.wait())
    coming: asyncio.Future[bytes] | None = None
    try:
        while True:
            coming = asyncio.ensure_future(_next(pieces))
            await asyncio.wait({coming, ending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                raise ConnectionResetError if leaving.done() else stopping()
            try:
                yield coming.result()
            except _NoMore:
                return
    finally:
        for each in (ending, leaving, coming):
            if each is not None and not each.done():
                each.cancel()
                await asyncio.gather(each, return_exceptions=True)


class _NoMore(Exception):
    """A future cannot hold StopAsyncIteration."""


async def _next(pieces: AsyncIterator[bytes]) -> bytes:
    try:
        return await anext(pieces)
    except StopAsyncIteration:
        raise _NoMore from None


def last_event(request: web.Request) -> int:
    """After which event a stream is to go on, as the HTML standard says (server-sent events); 0 for all of it."""
    last = request.headers.get("Last-Event-ID", "0").strip()
    if not (last.isascii() and last.isdigit() and len(last) < 10):
        raise RequestInvalid("Last-Event-ID is not the id of an event")
    return int(last)
