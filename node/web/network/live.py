"""The network as it changes, for the script of its page: parts of it, rendered here, when something has happened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from atoll.node.api.auth import signed_in
from atoll.node.api.streaming import SSE, streamed
from atoll.node.web.headers import guarded
from atoll.node.web.network.seeing import seen
from atoll.node.web.rendering import render
from atoll.node.web.visit import Visit

if TYPE_CHECKING:
    from atoll.node.app import Node

PACE, BEAT = 1.0, 30.0  # seconds between two looks at least, and at most
LIFE = 600.0  # seconds of one stream; browsers come again by themselves
PARTS = ("figures", "map", "peers")


async def events(visit: Visit) -> web.StreamResponse:
    """Parts of the page that have changed, as server-sent events, for as long as whoever follows is signed in."""
    stream = guarded(web.StreamResponse(headers={"Content-Type": SSE}))
    return await streamed(visit.request, stream, _pieces(visit), lambda code, words: b"")


async def _pieces(visit: Visit) -> AsyncIterator[bytes]:
    before: dict[str, str] = {}
    loop = asyncio.get_running_loop()
    end = loop.time() + LIFE
    with _changes(visit.node) as changed:
        while loop.time() < end and (await signed_in(visit.request))[1] is not None:
            changed.clear()
            relayed = await visit.node.network.relayed()
            now = await asyncio.to_thread(_parts, visit, relayed)
            news = {part: html for part, html in now.items() if before.get(part) != html}
            yield b"event: parts\ndata: %s\n\n" % msgspec.json.encode(news) if news else b": nothing new\n\n"
            before = now
            await asyncio.sleep(PACE)
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT):
                    await changed.wait()


def _parts(visit: Visit, relayed: frozenset[str]) -> dict[str, str]:
    values = seen(visit.node, visit.request, relayed)
    return {part: render("network/_live.html", visit.node, part=part, **values) for part in PARTS}


@contextmanager
def _changes(node: Node) -> Iterator[asyncio.Event]:
    """Set whenever peers, federations or the catalogue have changed."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def wake(*_: object) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(changed.set)

    ends = (node.peers.on_change(wake), node.catalogue.on_change(wake))
    try:
        yield changed
    finally:
        for end in ends:
            end()
