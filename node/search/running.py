"""A search under way: what has happened so far, for whoever listens, from wherever they left off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from atoll.engine.islands import Island
from atoll.node.search.plan import Candidate
from atoll.node.search.query import MixtureView, SearchQuery, SearchResult


class Event(msgspec.Struct, frozen=True):
    """One line of the stream: plan, hit, peer_done, peer_failed; answer and correction with the whole answer as it is
    then, and last end with the final one. ``id`` counts from 1."""

    id: int
    event: str
    data: Any


class Session(msgspec.Struct, frozen=True):
    """What a prediction needs of a search."""

    island: Island
    members: tuple[Candidate, ...]
    mixture: MixtureView


class Running:
    """Lives in the asyncio loop, and after its end for as long as it is remembered."""

    def __init__(self, id_: str, query: SearchQuery) -> None:
        self.id = id_
        self.query = query
        self.candidates: Sequence[Candidate] = ()
        self.session: Session | None = None
        self.result: SearchResult | None = None
        self.task: asyncio.Task[None] | None = None
        self._events: list[Event] = []
        self._changed = asyncio.Event()

    @property
    def ended(self) -> bool:
        return self.task is not None and self.task.done()

    def emit(self, event: str, data: object) -> None:
        self._events.append(Event(len(self._events) + 1, event, data))
        self.wake()

    def wake(self) -> None:
        """Something has happened."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def events(self, after: int = 0) -> AsyncIterator[Event]:
        """All events with a higher id, until the end; what ended the search if that was an error."""
        place = max(after, 0)
        while True:
            changed = self._changed
            while place < len(self._events):
                yield self._events[place]
                place += 1
            if self.ended:
                break
            if changed is self._changed:
                await changed.wait()
        self._raise()

    async def answer(self) -> SearchResult:
        """The newest whole answer, as soon as there is one."""
        while self.result is None and not self.ended:
            await self._changed.wait()
        self._raise()
        assert self.result is not None  # it ends with an answer or an error
        return self.result

    def _raise(self) -> None:
        if self.task is not None and self.task.done():
            self.task.result()
