"""Files over HTTP that can be resumed: an ETag that is what is in them, and ranges that hold for that (RFC 9110)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web
from atoll.node.errors import RequestInvalid

PIECE = 1 << 18
NO_HEADERS: Mapping[str, str] = {}


async def sent(
    request: web.Request, path: Path, etag: str, *, media_type: str, name: str, more: Mapping[str, str] = NO_HEADERS
) -> web.StreamResponse:
    """The file, or the range of it that the request asks for, under this ETag (without quotes), to be saved as ``name``
    (plain ASCII), with ``more`` headers. With an If-Range of other contents it is the whole."""
    tag = f'"{etag}"'
    headers = {"ETag": tag, "Accept-Ranges": "bytes", "Cache-Control": "private, no-cache", **more}
    if tag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    size = (await asyncio.to_thread(path.stat)).st_size
    first, end = _range(request, size) if request.headers.get("If-Range", tag) == tag else (0, size)
    if first >= end and size:
        return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    headers["Content-Disposition"] = f'attachment; filename="{name}"'
    part = (first, end) != (0, size)
    if part:
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
    response = web.StreamResponse(status=206 if part else 200, headers=headers)
    response.content_type, response.content_length = media_type, end - first
    return await _stream(request, response, path, first, end)


def _range(request: web.Request, size: int) -> tuple[int, int]:
    """First byte, and the one after the last."""
    try:
        asked = request.http_range
    except ValueError:
        raise RequestInvalid("the header Range is not one range of bytes", hint="Range: bytes=0-") from None
    first, end, _ = asked.indices(size)
    return (first, end) if asked.start is None or asked.start < size else (size, size)


async def _stream(
    request: web.Request, response: web.StreamResponse, path: Path, first: int, end: int
) -> web.StreamResponse:
    """A file that is removed meanwhile is sent to its end."""
    file = await asyncio.to_thread(path.open, "rb")
    try:
        await asyncio.to_thread(file.seek, first)
        await response.prepare(request)
        while first < end and (piece := await asyncio.to_thread(file.read, min(PIECE, end - first))):
            await response.write(piece)
            first += len(piece)
        await response.write_eof()
    finally:
        await asyncio.to_thread(file.close)
    return response
