"""Something under way that tells what happens: to whoever listens, from wherever they left off.

Lives in the asyncio loop. Promises every event once, in order, and after the last one the error that ended it, if any.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
from atoll.node.stopping import stopping


class Event(msgspec.Struct, frozen=True):
    """One line of the stream of a search (plan, hit, peer_done, peer_failed, answer, correction), of a reuse session
    (plan, download, progress, member_failed, chosen) or of downloads (download, fetched, failed), each of which closes
    with end. ``id`` counts from 1."""

    id: int
    event: str
    data: Any


class Telling:
    """``task`` is what is under way, None before it has begun; ``stopped``: it was ended with the node."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self._events: list[Event] = []
        self._changed = asyncio.Event()
        self._listening = 0
        self.stopped = False

    @property
    def followed(self) -> bool:
        """Whether somebody waits for what comes."""
        return self._listening > 0

    @property
    def ended(self) -> bool:
        return self.task is not None and self.task.done()

    @property
    def so_far(self) -> Sequence[Event]:
        """All events by now."""
        return tuple(self._events)

    def emit(self, event: str, data: object) -> None:
        self._events.append(Event(len(self._events) + 1, event, data))
        self.wake()

    def wake(self) -> None:
        """Something has happened."""
        self._changed.set()
        self._changed = asyncio.Event()

    def stop(self) -> None:
        """End what is under way; whoever waits for it is told that the node stops."""
        if self.task is not None and not self.task.done():
            self.stopped = True
            self.task.cancel()

    async def events(self, after: int = 0) -> AsyncIterator[Event]:
        """All events with a higher id, until the end; what ended it if that was an error."""
        place = max(after, 0)
        while True:
            changed = self._changed
            while place < len(self._events):
                yield self._events[place]
                place += 1
            if self.ended:
                break
            if changed is self._changed:
                await self._wait(changed)
        self._raise()

    async def happens(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds, or it has ended without an error."""
        while not condition() and not self.ended:
            await self._wait(self._changed)
        self._raise()

    async def _wait(self, changed: asyncio.Event) -> None:
        self._listening += 1
        try:
            await changed.wait()
        finally:
            self._listening -= 1

    def _raise(self) -> None:
        if self.task is not None and self.task.done():
            if self.stopped and self.task.cancelled():
                raise stopping()
            self.task.result()
