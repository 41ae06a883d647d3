"""Dialling: whoever is known, admitted and not connected is tried when its backoff says so, a few at a time."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio
from atoll.engine.errors import AtollError
from atoll.node.clock import now_ms
from atoll.node.p2p.changes import PeerChanges
from atoll.node.p2p.peers import Peers
from atoll.node.p2p.table import PeerState
from atoll.protocol.messages import PeerRefused

log = logging.getLogger("atoll.p2p")

TICK = 1.0  # seconds between two looks at who is due
PAUSE = 0.1  # after news of a peer, for more of it to gather
SLOTS = 4  # dials at once to peers that have proven themselves, and as many to others, which so hold up nobody


class Dialler:
    """``dial(address)`` connects and says hello, or ends the connection."""

    def __init__(self, peers: Peers, dial: Callable[[str], Awaitable[str]]) -> None:
        self._peers = peers
        self._dial = dial
        self._busy: dict[str, bool] = {}  # peer -> trusted

    async def run(self, connected: Callable[[], set[str]]) -> None:
        """Go on until cancelled; on the way, what has changed of the peers is kept."""
        changes = PeerChanges(self._peers)
        async with trio.open_nursery() as nursery:
            while True:
                self._peers.flush()
                for state in self._peers.due(now_ms(), connected() | self._busy.keys()):
                    trusted = state.proven or bool(state.configured)
                    if sum(busy == trusted for busy in self._busy.values()) < SLOTS:
                        self._busy[state.peer] = trusted
                        nursery.start_soon(self._try, state)
                await changes.wait(TICK)
                await trio.sleep(PAUSE)

    async def _try(self, state: PeerState) -> None:
        try:
            failure = await self._try_all(state.places)
            if failure is None or isinstance(failure, PeerRefused):  # the latter is noted where it is heard
                return
            if not self._peers.admitted(state.peer):  # it may have come to us meanwhile
                self._peers.failed(state.peer, failure.message, now_ms())
        except Exception as error:  # the outermost edge of the task
            log.error("a dial failed: %r", error, extra={"peer": state.peer}, exc_info=error)
            self._peers.failed(state.peer, "an unexpected error; the log says more", now_ms())
        finally:
            del self._busy[state.peer]

    async def _try_all(self, addresses: tuple[str, ...]) -> AtollError | None:
        """None if one of them worked, else the last failure."""
        failure: AtollError | None = None
        for address in addresses:
            try:
                await self._dial(address)
            except PeerRefused as error:
                return error
            except AtollError as error:
                failure = error
            else:
                return None
        return failure
