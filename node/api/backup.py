"""The backup of a running node, streamed as it is read."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aiohttp import web
from atoll.engine.errors import AtollError
from atoll.node.api.described import TAR, Field, Yes
from atoll.node.api.files import NO_HEADERS
from atoll.node.api.routing import Route
from atoll.node.clock import now_ms
from atoll.node.errors import RequestInvalid
from atoll.node.store import backup as backups
from atoll.node.store.backup import Backup

if TYPE_CHECKING:
    from atoll.node.app import Node

log = logging.getLogger("atoll.backup")
MEDIA_TYPE = "application/x-tar"
WITH_KEY = {"true": True, "false": False}


async def download(node: Node, request: web.Request) -> web.StreamResponse:
    """``?key=false`` leaves the node's private key out. What goes wrong after the first byte breaks the answer off,
    short of its Content-Length; the node's log says why."""
    with_key = WITH_KEY.get(request.query.get("key", "true"))
    if with_key is None:
        raise RequestInvalid("`key` is true or false")
    return await made(node, request, with_key=with_key)


async def made(
    node: Node, request: web.Request, *, with_key: bool, more: Mapping[str, str] = NO_HEADERS
) -> web.StreamResponse:
    """A backup of now, sent as the answer to the request, with ``more`` headers."""
    backup = await asyncio.to_thread(
        backups.make, node.store, node.home, node.identity.peer, now_ms(), with_key=with_key
    )
    try:
        return await _send(backup, request, more)
    finally:
        await asyncio.to_thread(backup.close)


async def _send(backup: Backup, request: web.Request, more: Mapping[str, str]) -> web.StreamResponse:
    made = time.strftime("%Y%m%d-%H%M%S", time.gmtime(backup.manifest.created_at / 1000))
    stream = web.StreamResponse(
        headers={
            "Content-Type": MEDIA_TYPE,
            "Content-Disposition": f'attachment; filename="atoll-{made}.tar"',
            "Cache-Control": "no-store",
            **more,
        }
    )
    stream.content_length = await asyncio.to_thread(lambda: backup.manifest.length)
    await stream.prepare(request)
    chunks = backup.chunks()
    try:
        while chunk := await asyncio.to_thread(next, chunks, b""):
            await stream.write(chunk)
        await stream.write_eof()
    except ConnectionError:
        raise RequestInvalid("the caller hung up before the backup was sent") from None
    except (AtollError, OSError) as error:
        log.error("the backup was broken off: %s", error)
        if request.transport is not None:
            request.transport.abort()  # no problem can follow: the answer has begun
        raise
    return stream


KEY = Field("key", Yes, "whether the private key of the node is in it; it is without this")
ROUTES = (
    Route(
        "GET", "/api/v1/backup", download, "admin", "The whole node as one tar file", act="node.backup", query=(KEY,),
        gives=(TAR,),
    ),
)  # fmt: skip
