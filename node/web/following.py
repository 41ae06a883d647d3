"""What is under way, for the script of a page: server-sent events with parts of the page in them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal, NamedTuple

import msgspec
from aiohttp import web
from atoll.node.api.streaming import SSE, streamed
from atoll.node.web.headers import guarded
from atoll.node.web.visit import Visit


class Part(msgspec.Struct, frozen=True):
    """Put ``html`` into the element ``into``, in place of what is there or after it; tell ``status``."""

    status: str
    into: str = ""
    how: Literal["replace", "append"] = "replace"
    html: str = ""


class Told(NamedTuple):
    """``last``: nothing comes after it. ``id`` is that from which a browser that lost the connection goes on, 0 where
    each part tells all there is."""

    part: Part
    last: bool
    id: int = 0


async def followed(visit: Visit, told: AsyncIterator[Told]) -> web.StreamResponse:
    """All that is told, as it is; what ends it early in words."""

    async def pieces() -> AsyncIterator[bytes]:
        async for each in told:
            yield _event(b"end" if each.last else b"part", each.part, each.id)

    def broken(code: str, words: str) -> bytes:
        return _event(b"broken", Part(words))

    stream = guarded(web.StreamResponse(headers={"Content-Type": SSE}))
    return await streamed(visit.request, stream, pieces(), broken)


def _event(name: bytes, part: Part, id_: int = 0) -> bytes:
    """As the HTML standard says (server-sent events)."""
    number = b"id: %d\n" % id_ if id_ else b""
    return b"%sevent: %s\ndata: %s\n\n" % (number, name, msgspec.json.encode(part))
