"""A backup as it comes from a node, piece by piece."""

from __future__ import annotations

import asyncio
import os
from typing import IO

import aiohttp
from atoll.engine.errors import IntegrityError
from atoll.node.client.transport import RemoteError, problem
from atoll.node.errors import NodeUnreachable
from atoll.node.store import backup_file
from atoll.node.store.backup_file import Manifest, Progress

STREAMING = aiohttp.ClientTimeout(connect=5, sock_read=600)  # a node copies its store before the first byte


async def receive(
    session: aiohttp.ClientSession, url: str, file: IO[bytes], *, with_key: bool, progress: Progress | None
) -> Manifest:
    """Write a backup into ``file``; its manifest, after fsync. IntegrityError or NodeUnreachable if not all came."""
    done, params = 0, {"key": str(with_key).lower()}
    async with session.get(url, params=params, timeout=STREAMING) as response:
        if response.status >= 400:
            raise RemoteError(problem(await response.read(), response.status))
        try:
            async for chunk in response.content.iter_chunked(backup_file.CHUNK):
                done += await asyncio.to_thread(file.write, chunk)
                if progress:
                    progress(done, response.content_length or 0)
        except aiohttp.ClientPayloadError:
            raise NodeUnreachable("the node broke the backup off", hint="the node's log says why") from None
    return await asyncio.to_thread(_received, file)


def _received(file: IO[bytes]) -> Manifest:
    """The manifest of a backup just written, after fsync; IntegrityError unless the file is as long as it says."""
    file.flush()
    os.fsync(file.fileno())
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    manifest = backup_file.read_manifest(file)
    if manifest.length != length:
        raise IntegrityError(f"the node sent {length} bytes of a backup of {manifest.length}")
    return manifest
