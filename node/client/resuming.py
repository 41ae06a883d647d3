"""A file from a node, over as many connections as it takes."""

from __future__ import annotations

import asyncio
from typing import IO

import aiohttp
from atoll.node.client.transport import RemoteError, problem
from atoll.node.errors import NodeUnreachable

ATTEMPTS, PAUSE = 4, 0.5  # connections that bring nothing, one after the other, and seconds before the next
PIECE = 1 << 20
TIMEOUT = aiohttp.ClientTimeout(connect=5, sock_read=120)


async def receive(session: aiohttp.ClientSession, url: str, file: IO[bytes], media_type: str) -> None:
    """Write what is at ``url`` into an empty ``file``; what broke off goes on from there while it is the same (ETag).

    RemoteError if the node refuses, NodeUnreachable if it does not come back.
    """
    tag: list[str] = []
    failures = 0
    while True:
        done = file.tell()
        try:
            await _append(session, url, file, media_type, tag)
            return
        except (aiohttp.ClientError, TimeoutError) as error:
            failures = 0 if file.tell() > done else failures + 1
            if failures >= ATTEMPTS:
                raise NodeUnreachable(f"the node broke it off: {error or type(error).__name__}") from None
            await asyncio.sleep(PAUSE)


async def _append(session: aiohttp.ClientSession, url: str, file: IO[bytes], media_type: str, tag: list[str]) -> None:
    """What one connection brings; ``tag`` holds the ETag of what is in the file, once there is one."""
    done = file.tell()
    headers = {"Accept": media_type}
    if done and tag:
        headers |= {"Range": f"bytes={done}-", "If-Range": tag[0]}
    async with session.get(url, headers=headers, timeout=TIMEOUT) as response:
        if response.status >= 400:
            raise RemoteError(problem(await response.read(), response.status))
        if response.status != 206:
            file.seek(0)
            file.truncate()
        tag[:] = [told] if (told := response.headers.get("ETag")) else []
        async for piece in response.content.iter_chunked(PIECE):
            await asyncio.to_thread(file.write, piece)
