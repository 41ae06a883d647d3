"""Learnwares as Beimingwu packages, from a node."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO
from urllib.parse import quote

from atoll.node.client.resuming import Resuming
from atoll.node.client.transport import Transport


class BeimingwuCalls(Transport):
    """What AsyncClient has of it."""

    async def beimingwu_package(
        self, learnware_id: str, file: IO[bytes], progress: Callable[[int], None] = lambda done: None
    ) -> None:
        """Write the zip that Beimingwu's client loads into ``file``, of a learnware of this node, or of another whose
        owner offers you download; by its id, or the alias that it has here. RemoteError where it cannot be had."""
        url = f"{self._url}/beimingwu/engine/download_learnware?learnware_id={quote(learnware_id, safe='')}"
        await Resuming(url, file, progress=progress).receive(self._session)
