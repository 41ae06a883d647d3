"""A file from a node, over as many connections as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

import aiohttp
from atoll.engine.errors import IntegrityError
from atoll.node.client.transport import RemoteError, problem
from atoll.node.errors import NodeUnreachable

ATTEMPTS, PAUSE = 4, 0.5  # connections that bring nothing, one after the other, and seconds before the next
PIECE = 1 << 20
TIMEOUT = aiohttp.ClientTimeout(connect=5, sock_read=120)


@dataclass
class Resuming:
    """What is at ``url``, to be written into ``file``, which holds its first bytes if any: what broke off goes on from
    there while it is the same, by its ETag ``tag``. More than ``most`` bytes are IntegrityError; ``progress`` hears how
    many there are."""

    url: str
    file: IO[bytes]
    media_type: str = "*/*"
    tag: str = ""
    most: float = float("inf")
    progress: Callable[[int], None] = lambda done: None

    async def receive(self, session: aiohttp.ClientSession) -> None:
        """RemoteError if the node refuses, NodeUnreachable if it does not come back."""
        failures = 0
        while True:
            done = self.file.tell()
            try:
                await self._append(session, done)
                return
            except (aiohttp.ClientError, TimeoutError) as error:
                failures = 0 if self.file.tell() > done else failures + 1
                if failures >= ATTEMPTS:
                    raise NodeUnreachable(f"the node broke it off: {error or type(error).__name__}") from None
                await asyncio.sleep(PAUSE)

    async def _append(self, session: aiohttp.ClientSession, done: int) -> None:
        """What one connection brings."""
        headers = {"Accept": self.media_type}
        if done and self.tag:
            headers |= {"Range": f"bytes={done}-", "If-Range": self.tag}
        async with session.get(self.url, headers=headers, timeout=TIMEOUT) as response:
            if response.status >= 400:
                raise RemoteError(problem(await response.read(), response.status))
            if response.status != 206:
                done = self.file.seek(0)
                self.file.truncate()
            self.tag = response.headers.get("ETag", "")
            async for piece in response.content.iter_chunked(PIECE):
                done += len(piece)
                if done > self.most:
                    raise IntegrityError(f"the node sends more than the {self.most} bytes that it lists")
                await asyncio.to_thread(self.file.write, piece)
                self.progress(done)
