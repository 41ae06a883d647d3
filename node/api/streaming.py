"""Answers that come piece by piece; what ends them early is told in their own form, since the status has been sent."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable

from aiohttp import web
from atoll.engine.errors import AtollError
from atoll.node.errors import RequestInvalid

log = logging.getLogger("atoll.api")

Broken = Callable[[str, str], bytes]  # code, words


async def streamed(
    request: web.Request, stream: web.StreamResponse, pieces: AsyncIterator[bytes], broken: Broken
) -> web.StreamResponse:
    """Send the pieces as they come, and at the end of those what ``broken`` makes of an error. Whoever has gone may
    come back."""
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
            log.error("%s broke off: %r", request.path, error, exc_info=error)
            await stream.write(broken("internal", "the search failed"))
        await stream.write_eof()
    except ConnectionError:
        log.debug("whoever followed %s has gone", request.path)
    return stream


def last_event(request: web.Request) -> int:
    """After which event a stream is to go on, as the HTML standard says (server-sent events); 0 for all of it."""
    last = request.headers.get("Last-Event-ID", "0").strip()
    if not (last.isascii() and last.isdigit() and len(last) < 10):
        raise RequestInvalid("Last-Event-ID is not the id of an event")
    return int(last)
