"""A way to a node that is cut once, in the middle of an upload."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

PIECE = 64 << 10


class Cutting:
    """``url`` leads to the node; the connection on which the ``after``-th byte goes there is cut at it, once."""

    def __init__(self, url: str, after: int) -> None:
        self._target = urlsplit(url)
        self._left: int | None = after
        self.url = ""

    @property
    def has_cut(self) -> bool:
        return self._left is None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, out = await asyncio.open_connection(self._target.hostname, self._target.port)
        back = asyncio.ensure_future(_copy(there, writer))
        try:
            while piece := await reader.read(PIECE):
                if self._left is not None:
                    if len(piece) > self._left:
                        self._left = None
                        break
                    self._left -= len(piece)
                out.write(piece)
                await out.drain()
        finally:
            back.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await back
            for each in (out, writer):
                each.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()


@asynccontextmanager
async def cutting(url: str, after: int) -> AsyncIterator[Cutting]:
    made = Cutting(url, after)
    server = await asyncio.start_server(made._serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    made.url = f"http://{host}:{port}{made._target.path}"
    async with server:
        yield made
