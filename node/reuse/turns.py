"""Turns at work that takes a processor: few at a time, and nobody's many keep the others waiting for long."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from atoll.node.errors import NodeBusy


class Turns:
    """Lives in the asyncio loop. ``at_a_time`` are at work, others wait; ``of_user`` and ``of_all`` may do either."""

    def __init__(self, what: str, at_a_time: int, of_user: int, of_all: int) -> None:
        self._what = what
        self._of_user = of_user
        self._of_all = of_all
        self._working = asyncio.Semaphore(at_a_time)
        self._under_way: Counter[str] = Counter()

    @asynccontextmanager
    async def turn(self, user: str) -> AsyncIterator[None]:
        """The block is at work; NodeBusy, at once, if too many wait."""
        if self._under_way[user] >= self._of_user or self._under_way.total() >= self._of_all:
            raise NodeBusy(f"too many {self._what} are under way", hint="try again in a few seconds")
        self._under_way[user] += 1
        try:
            async with self._working:
                yield
        finally:
            self._under_way[user] -= 1
            self._under_way += Counter()  # who has none is forgotten
