"""A node behind a network that breaks, and a client whose calls block, as scripts have it."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from atoll.node.client import AsyncClient


@dataclass
class Broken:
    """A proxy before a node. Of each connection it lets so many bytes of the answers through, then cuts it; the last
    figure goes for all that follow, None for as many as there are."""

    port: int
    allowed: list[int | None]
    requests: list[bytes] = field(default_factory=list)
    on_cut: Callable[[], None] = lambda: None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = self.allowed[min(len(self.requests), len(self.allowed) - 1)]
        number = len(self.requests)
        self.requests.append(b"")
        upstream, downstream = await asyncio.open_connection("127.0.0.1", self.port)

        async def forth() -> None:
            while data := await reader.read(65536):
                self.requests[number] += data
                downstream.write(data)

        forward = asyncio.ensure_future(forth())
        try:
            while data := await upstream.read(65536):
                writer.write(data if left is None else data[:left])
                await writer.drain()
                if left is not None:
                    left -= len(data)
                    if left <= 0:
                        self.on_cut()
                        break
        finally:
            forward.cancel()
            downstream.close()
            writer.close()


@pytest.fixture
async def broken():
    """``await broken(node, 900, None)``: a client of the node, and the proxy between, as `Broken` says."""
    async with AsyncExitStack() as stack:

        async def before(running, *allowed):
            proxy = Broken(int(running.url.rsplit(":", 1)[1]), list(allowed))
            server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
            stack.push_async_callback(server.wait_closed)
            stack.callback(server.close)
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            return await stack.enter_async_context(AsyncClient(url, running.token)), proxy

        yield before


@pytest.fixture
def blocking():
    """``await blocking(script, ...)`` runs synchronous code beside the node's loop."""
    return asyncio.to_thread
