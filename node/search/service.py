"""Search: plan on the catalogue, fan out to the owners under one deadline, merge; nothing waits for the slowest."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from atoll.node.clock import now_ms
from atoll.node.errors import NodeBusy
from atoll.node.p2p.network import Network
from atoll.node.p2p.peers import Peers
from atoll.node.pseudonyms import Pseudonyms
from atoll.node.search.answering import Directory, answered, provisional
from atoll.node.search.asking import Complete, FanOut, Pace
from atoll.node.search.hearing import ANSWERS, Heard, hear
from atoll.node.search.islands import everywhere
from atoll.node.search.leaving import leaves
from atoll.node.search.plan import Plan, Question, plan
from atoll.node.search.query import (
    PeerDone,
    SearchPlan,
    SearchQuery,
    SearchResult,
)
from atoll.node.search.running import Running, Session
from atoll.node.search.settling import settle
from atoll.node.search.sketches import CatalogueSketches
from atoll.node.serving import Owner
from atoll.node.store.catalogue import Catalogue
from atoll.protocol.errors import NotFound
from atoll.protocol.match import AskedSketch, MatchRequest
from atoll.protocol.policy import Asker

KEPT = 64  # searches that are remembered, for whoever lost the connection and for predictions
Answer = Callable[[bool], Awaitable[SearchResult]]


class Searcher:
    """Runs searches on the asyncio side, what takes time in threads."""

    def __init__(
        self, catalogue: Catalogue, owner: Owner, own: str, network: Network, peers: Peers, pseudonyms: Pseudonyms
    ) -> None:
        self._catalogue = catalogue
        self._sketches = CatalogueSketches(catalogue)
        self._owner = owner
        self._own = own
        self._network = network
        self._peers = peers
        self._pseudonyms = pseudonyms
        self._directory = Directory(peers.name, catalogue.record)
        self._pace = Pace()
        self._searches: OrderedDict[str, Running] = OrderedDict()

    def start(self, query: SearchQuery) -> Running:
        """Begin a search; NodeBusy if as many are under way as are remembered, NotFound for an unknown island."""
        for each in query.specifications:
            self._catalogue.island(each.island)
        while len(self._searches) >= KEPT:
            ended = next((id_ for id_, each in self._searches.items() if each.ended), None)
            if ended is None:
                raise NodeBusy(f"{KEPT} searches are under way", hint="try again in a few seconds")
            del self._searches[ended]
        running = Running(secrets.token_hex(8), query)
        self._searches[running.id] = running
        running.task = asyncio.get_running_loop().create_task(self._run(running))
        running.task.add_done_callback(lambda _: running.wake())
        return running

    async def search(self, query: SearchQuery) -> SearchResult:
        """The answer, once it is complete."""
        return await self.start(query).answer()

    def running(self, search_id: str, user: str) -> Running:
        """A remembered search of this user, or NotFound."""
        found = self._searches.get(search_id)
        if found is None or found.query.user != user:
            raise NotFound("this search is not remembered (any more)", hint="search again")
        return found

    def session(self, search_id: str, user: str) -> Session:
        """What a remembered search found to predict with, or NotFound."""
        session = self.running(search_id, user).session
        if session is None:
            raise NotFound("this search has found no mixture", hint="search by data")
        return session

    async def aclose(self) -> None:
        """End what is under way."""
        tasks = [each.task for each in self._searches.values() if each.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self._sketches.close)

    async def _run(self, running: Running) -> None:
        started, now = time.monotonic(), now_ms()
        query, islands = await asyncio.to_thread(everywhere, running.query, self._catalogue, now)
        alive = partial(self._catalogue.alive, now, query.semantic)
        planned = await asyncio.to_thread(plan, query, islands, alive, self._sketches, now)
        questions = planned.questions if query.privacy != "local" else ()
        asked = tuple(sorted({question[0] for question in questions}))
        leaving = leaves(query, [self._peers.name(peer) or peer for peer in asked if peer != self._own])
        names = tuple(island.id for island in islands)
        running.emit("plan", SearchPlan(running.id, names, query.privacy, leaving, asked))
        running.candidates = planned.candidates
        for hit in await asyncio.to_thread(provisional, query, planned, self._directory):
            running.emit("hit", hit)
        deadline = query.deadline_ms / 1000
        fan_out = FanOut(questions, partial(self._ask, query, planned), self._peers, self._pace, deadline)

        async def answer(final: bool) -> SearchResult:
            failed = {**fan_out.failed, **({} if final else fan_out.late())}
            settled = await asyncio.to_thread(settle, planned, query.user, dict(fan_out.replies))
            found = await asyncio.to_thread(answered, query, planned, settled, self._directory)
            running.candidates, running.session = settled.candidates, found.session
            return SearchResult(
                search_id=running.id,
                hits=found.hits,
                mixture=found.mixture,
                islands=names,
                peers_asked=asked,
                peers_answered=tuple(peer for peer in asked if peer not in failed),
                peers_failed=failed,
                complete=not failed,
                advice=found.advice,
                elapsed_ms=int((time.monotonic() - started) * 1000),
                topk_exact=found.certain,
                peers_doubted=tuple(sorted(settled.doubted)),
                leaves=leaving,
                final=final,
            )

        await self._follow(running, fan_out, answer)

    async def _follow(self, running: Running, fan_out: FanOut, answer: Answer) -> None:
        """Tell what happens, and the answer: when it is complete, after each that was late, and at the end."""
        complete = False
        async for happened in fan_out.progress():
            if isinstance(happened, Complete):
                complete = True
                if fan_out.late():
                    running.result = await answer(False)
                    running.emit("answer", running.result)
                continue
            running.emit("peer_done" if isinstance(happened, PeerDone) else "peer_failed", happened)
            if complete and fan_out.late() and isinstance(happened, PeerDone):
                running.result = await answer(False)
                running.emit("correction", running.result)
        corrected = running.result is not None
        running.result = await answer(True)
        running.emit("correction" if corrected else "answer", running.result)
        running.emit("end", running.result)

    async def _ask(self, query: SearchQuery, planned: Plan, question: Question) -> Heard:
        peer, federation, island = question
        user = self._pseudonyms.of(query.user, federation)
        field, asked = next(
            pair for pair in zip(planned.fields, query.specifications, strict=True) if pair[1].island == island
        )
        told: dict[str, Any] = {"sketch": AskedSketch.of(field.asked)}
        if query.privacy == "rkme" and asked.rkme is not None:
            told = {"rkme": asked.rkme.record()}
        wanted = planned.wanted.get(question, ())
        asking: dict[str, Any] = {"limit": ANSWERS, "user": user, "wanted": wanted, **told}
        message = MatchRequest(federation, island, semantic=query.semantic, **asking)
        if peer == self._own:
            reply = await self._owner.match_soon(Asker(peer, user), message)
        else:
            reply = await self._network.match(peer, message, query.deadline_ms / 1000)
        return await asyncio.to_thread(hear, query, field, asked.rkme, question, reply)
