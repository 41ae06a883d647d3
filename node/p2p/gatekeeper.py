"""Acts on the lists of whom to admit: cuts off who is connected, and turns away who comes, after saying why."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import trio
from atoll.node.clock import now_ms
from atoll.node.p2p.bridge import Started
from atoll.node.p2p.peers import Peers

PATIENCE = 5.0  # seconds in which a peer that is not admitted can say hello and hear so


class Gatekeeper:
    """Told of connections in the trio loop, it tells ``peers``; ``drop(peer)`` ends a peer's connections."""

    def __init__(self, peers: Peers, drop: Callable[[str], Awaitable[None]]) -> None:
        self._peers = peers
        self._drop = drop
        self._leaving: dict[str, trio.Event] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: Started[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started(None)
            await trio.sleep_forever()

    def connected(self, peer: str) -> None:
        self._peers.connected(peer, now_ms())
        if not self._peers.permitted(peer) and peer not in self._leaving and self._nursery is not None:
            self._leaving[peer] = trio.Event()
            with contextlib.suppress(RuntimeError):  # the network is closing
                self._nursery.start_soon(self._turn_away, peer, self._leaving[peer])

    def disconnected(self, peer: str) -> None:
        self._peers.lost(peer, "disconnected", now_ms())
        if peer in self._leaving:
            self._leaving.pop(peer).set()

    async def enforce(self, connected: set[str]) -> None:
        """Returns when nobody of those is connected who is not admitted."""
        async with trio.open_nursery() as nursery:
            for peer in connected:
                if not self._peers.permitted(peer):
                    nursery.start_soon(self._drop, peer)

    async def _turn_away(self, peer: str, gone: trio.Event) -> None:
        with trio.move_on_after(PATIENCE):
            await gone.wait()
        if not gone.is_set() and not self._peers.permitted(peer):
            await self._drop(peer)
