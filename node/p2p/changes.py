"""Waiting in trio for changes of peers, which are made in any thread."""

from __future__ import annotations

from contextlib import suppress

import trio
from atoll.node.p2p.peers import Peers


class PeerChanges:
    """Make one in the trio loop; it hears of changes for as long as that runs."""

    def __init__(self, peers: Peers) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._come = trio.Event()
        peers.on_change(self._heard)

    async def wait(self, seconds: float) -> None:
        """Return when a peer has changed since the last call, or after so many seconds."""
        with trio.move_on_after(seconds):
            await self._come.wait()
        self._come = trio.Event()

    def _heard(self, peer: str) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._wake, idempotent=True)

    def _wake(self) -> None:
        self._come.set()
