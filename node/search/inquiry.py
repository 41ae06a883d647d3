"""One search from plan to end: what it tells, whom it asks, in which order. Runs in the asyncio loop, and in threads
what takes time."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from atoll.node import language
from atoll.node.search.answering import Directory, answered, provisional
from atoll.node.search.asking import Complete, FanOut
from atoll.node.search.further import further
from atoll.node.search.leaving import leaves
from atoll.node.search.plan import Plan
from atoll.node.search.query import PeerDone, SearchPlan, SearchQuery, SearchResult
from atoll.node.search.running import Running
from atoll.node.search.settling import settle


@dataclass
class Inquiry:
    """``query`` is the one that runs, in every island; ``running`` tells of it."""

    running: Running
    query: SearchQuery
    planned: Plan
    fan_out: FanOut
    directory: Directory
    own: str
    started: float = field(default_factory=time.monotonic)

    async def run(self) -> None:
        self._tell_plan()
        for hit in await asyncio.to_thread(provisional, self.query, self.planned, self.directory):
            self.running.emit("hit", hit)
        await self._follow()
        if self.fan_out.questions and self.fan_out.has_time() and await self._ask_further():
            self._tell_plan()
            await self._follow()
        await self._answer(final=True)
        self.running.emit("end", self.running.result)

    async def _follow(self) -> None:
        """Tell what happens, and the answer when it is complete but for the late, and after each of those."""
        complete = False
        async for happened in self.fan_out.progress():
            if isinstance(happened, Complete):
                complete = True
                if self.fan_out.late():
                    await self._answer()
                continue
            self.running.emit("peer_done" if isinstance(happened, PeerDone) else "peer_failed", happened)
            if complete and self.fan_out.late() and isinstance(happened, PeerDone):
                await self._answer()

    async def _ask_further(self) -> bool:
        """Whether somebody else is to be asked, as those who have answered leave it."""
        more = await asyncio.to_thread(further, self.query, self.planned, dict(self.fan_out.replies))
        self.fan_out.questions += more
        return bool(more)

    async def _answer(self, *, final: bool = False) -> None:
        """Tell the whole answer as it is now: the first is the answer, what follows corrects it."""
        event = "answer" if self.running.result is None else "correction"
        failed = {**self.fan_out.failed, **({} if final else self.fan_out.late())}
        settled = await asyncio.to_thread(settle, self.planned, self.query, dict(self.fan_out.replies))
        found = await asyncio.to_thread(answered, self.query, self.planned, settled, self.directory)
        shown = {(hit.learnware_id, hit.owner) for hit in found.hits}  # it is remembered: no more than is used
        self.running.candidates = tuple(each for each in settled.candidates if (each.id, each.owner) in shown)
        self.running.session = found.session
        told = self._plan()
        self.running.result = SearchResult(
            search_id=told.search_id,
            hits=found.hits,
            mixture=found.mixture,
            islands=told.islands,
            peers_asked=told.peers_asked,
            peers_answered=tuple(peer for peer in told.peers_asked if peer not in failed),
            peers_failed=failed,
            complete=not failed,
            advice=found.advice,
            elapsed_ms=int((time.monotonic() - self.started) * 1000),
            topk_exact=found.certain,
            peers_doubted=tuple(sorted(settled.doubted)),
            leaves=told.leaves,
            final=final,
        )
        self.running.emit(event, self.running.result)

    def _tell_plan(self) -> None:
        self.running.emit("plan", self._plan())

    def _plan(self) -> SearchPlan:
        peers = tuple(sorted({question[0] for question in self.fan_out.questions}))
        others = [self.directory.name(peer) or peer for peer in peers if peer != self.own]
        islands = tuple(each.island.hex() for each in self.query.specifications)
        self.running.leaves = language.in_each(lambda: leaves(self.query, others))
        english = self.running.leaves[language.DEFAULT]
        return SearchPlan(self.running.id, islands, self.query.privacy, english, peers)
