"""Uploads in pieces: each request appends its body where the upload stands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from aiohttp import web
from atoll.node.errors import RequestInvalid

PIECE = 1 << 20


class UploadView(msgspec.Struct, frozen=True):
    """Bytes that have come; the next piece begins there."""

    received: int


async def appended(request: web.Request, append: Callable[[int, bytes], int]) -> UploadView:
    """Append the body at the ``offset`` of the request; ``append`` blocks, and gives the bytes that are here then."""
    offset = request.query.get("offset", "0")
    if not (offset.isascii() and offset.isdecimal() and len(offset) < 16):
        raise RequestInvalid(f"offset {offset[:20]!r} is not a number")
    received = int(offset)
    async for piece in request.content.iter_chunked(PIECE):
        received = await asyncio.to_thread(append, received, piece)
    return UploadView(received)
