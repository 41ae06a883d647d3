"""Acts on the lists of whom to admit: cuts off who is connected, and turns away who comes, after saying why.

Whoever sends what no correct node sends is cut off too, after a few times, and not let in for a while.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import trio
from atoll.node.clock import now_ms
from atoll.node.p2p.bridge import Started
from atoll.node.p2p.buckets import Buckets
from atoll.node.p2p.peers import Peers

PATIENCE = 5.0  # seconds in which a peer that is not admitted can say hello and hear so
OFFENCES, FORGIVEN_EVERY = 8, 30.0  # borne at once, and seconds after which one is forgotten
BANISHED_SECONDS = 300.0
KEPT_OUT_EVERY = 1.0


class Gatekeeper:
    """Told of connections in the trio loop, it tells ``peers``; ``drop(peer)`` ends a peer's connections."""

    def __init__(self, peers: Peers, drop: Callable[[str], Awaitable[None]]) -> None:
        self._peers = peers
        self._drop = drop
        self._leaving: dict[str, trio.Event] = {}
        self._offences = Buckets(1.0 / FORGIVEN_EVERY, OFFENCES)
        self._banished: dict[str, float] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: Started[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started(None)
            await trio.sleep_forever()

    def misbehaved(self, peer: str, why: str) -> None:
        """Note it; too often in too short a time, and the peer is cut off."""
        self._peers.on_misbehaviour(peer, why)
        now = trio.current_time()
        if not self._offences.take(peer, now) and not self.banished(peer):
            self._banished = {each: until for each, until in self._banished.items() if until > now}
            self._banished[peer] = now + BANISHED_SECONDS
            self._peers.cut_off(peer, f"cut off: {why}", now_ms() + int(1000 * BANISHED_SECONDS))
            self._soon(self._keep_out, peer)

    def banished(self, peer: str) -> bool:
        """Whether a peer was cut off a short while ago."""
        return trio.current_time() < self._banished.get(peer, 0.0)

    def heard(self, peer: str) -> bool:
        """Whether a peer may say hello: also one on the deny list, so that it hears why."""
        return not self.banished(peer)

    def permitted(self, peer: str) -> bool:
        """Whether neither the administrator's lists nor its own doing keep a peer out."""
        return self._peers.permitted(peer) and not self.banished(peer)

    def connected(self, peer: str) -> None:
        if self.banished(peer):
            return
        self._peers.connected(peer, now_ms())
        if not self._peers.permitted(peer) and peer not in self._leaving and self._nursery is not None:
            self._leaving[peer] = trio.Event()
            self._soon(self._turn_away, peer, self._leaving[peer])

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

    def _soon(self, act: Callable[..., Awaitable[None]], *arguments: object) -> None:
        if self._nursery is not None:
            with contextlib.suppress(RuntimeError):  # the network is closing
                self._nursery.start_soon(act, *arguments)

    async def _keep_out(self, peer: str) -> None:
        """Again and again: who dials anew while the old connection is closing is not seen as coming."""
        while self.banished(peer):
            await self._drop(peer)
            await trio.sleep(KEPT_OUT_EVERY)

    async def _turn_away(self, peer: str, gone: trio.Event) -> None:
        with trio.move_on_after(PATIENCE):
            await gone.wait()
        if not gone.is_set() and not self._peers.permitted(peer):
            await self._drop(peer)
