"""Connections over HTTP: no more than there is room for, and none for those who send nothing, or next to nothing."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from atoll.node.api.problems import problem
from atoll.node.api.proxies import Proxies, loopback
from atoll.node.api.visitors import host_of
from atoll.node.config import HttpSection

log = logging.getLogger("atoll.http")
KEPT_ALIVE = 75.0  # seconds that a connection stays open between two requests
LEAST_RATE = 1024  # bytes a second of a body in the long run
TICKS = 8  # looks at a body within the time that it may be silent

SERVER = {"Server": "Atoll"}  # without it: the versions of what the node is made of


class Room:
    """How many connections there are, of how many that may be; one address has at most a quarter of them, unless it is
    of this machine or of a trusted proxy, where many come from."""

    def __init__(self, config: HttpSection) -> None:
        self.most = config.connections
        self.share = max(1, config.connections // 4)
        self.taken = 0
        self._proxies = Proxies(config)
        self._hosts: Counter[str] = Counter()

    def take(self, remote: str) -> bool:
        """One more connection of an address; whether there is room for it. :meth:`leave` at its end, either way."""
        host = host_of(remote)
        self.taken += 1
        self._hosts[host] += 1
        many = loopback(host) or self._proxies.trusts(remote)
        return self.taken <= self.most and (many or self._hosts[host] <= self.share)

    def leave(self, remote: str) -> None:
        host = host_of(remote)
        self.taken -= 1
        self._hosts[host] -= 1
        if not self._hosts[host]:
            del self._hosts[host]


class Connection(web.RequestHandler):
    """Cut off at once where there is no room, and after ``seconds`` without a whole first request. ``gone`` is set at
    its end."""

    def __init__(self, server: web.Server, room: Room, seconds: float, **settings: Any) -> None:
        super().__init__(server, keepalive_timeout=KEPT_ALIVE, **settings)
        self._room = room
        self._seconds = seconds
        self._remote = ""
        self._silent: asyncio.TimerHandle | None = None
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._remote = str((transport.get_extra_info("peername") or ("",))[0])
        if not self._room.take(self._remote):
            self._cut()
        else:
            self._silent = asyncio.get_running_loop().call_later(self._seconds, self._cut)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._room.leave(self._remote)
        self.gone.set()
        self.heard()
        super().connection_lost(exc)

    def heard(self) -> None:
        """A whole request, but for its body, has come."""
        if self._silent is not None:
            self._silent.cancel()
            self._silent = None

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What is not HTTP as it should be is told so like all else."""
        super().handle_error(request, status, exc, message)
        code, title = ("internal", "an unexpected error") if status >= 500 else ("request.invalid", "this is no HTTP")
        response = problem(code, title, status)
        response.headers.update(SERVER)
        response.force_close()
        return response

    def _cut(self) -> None:
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()


@contextmanager
def patient(request: web.Request, seconds: float) -> Iterator[None]:
    """Within the block the body of a request may take its time, but not stand still for ``seconds``, nor come at less
    than a kilobyte a second in the long run: the connection is cut off. What this node leaves unread does not count."""
    watch = None if request.content.is_eof() else _Watch(request, seconds)
    try:
        yield
    finally:
        if watch is not None:
            watch.end()


class _Watch:
    def __init__(self, request: web.Request, seconds: float) -> None:
        self._request = request
        self._seconds = seconds
        self._tick = seconds / TICKS
        self._waited = self._idle = 0.0
        self._bytes = 0
        self._next = asyncio.get_running_loop().call_later(self._tick, self._look)

    def end(self) -> None:
        self._next.cancel()

    def _look(self) -> None:
        content, transport = self._request.content, self._request.transport
        if content.is_eof() or transport is None:
            return
        if transport.is_reading():
            came = content.total_bytes - self._bytes
            self._waited += self._tick
            self._idle = 0.0 if came else self._idle + self._tick
        self._bytes = content.total_bytes
        if self._idle >= self._seconds or self._bytes < LEAST_RATE * (self._waited - self._seconds):
            log.info("a body came too slowly")
            transport.abort()
            return
        self._next = asyncio.get_running_loop().call_later(self._tick, self._look)
