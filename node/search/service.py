"""Search: plan on the catalogue, fan out to the owners under one deadline, merge; nothing waits for the slowest."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from atoll.node.clock import now_ms
from atoll.node.errors import NodeBusy
from atoll.node.p2p.network import Network
from atoll.node.p2p.peers import Peers
from atoll.node.pseudonyms import Pseudonyms
from atoll.node.search.answering import Directory
from atoll.node.search.asking import FanOut, Pace
from atoll.node.search.hearing import ANSWERS, Heard, hear
from atoll.node.search.inquiry import Inquiry
from atoll.node.search.islands import everywhere
from atoll.node.search.plan import Plan, Question, plan
from atoll.node.search.query import SearchQuery, SearchResult
from atoll.node.search.running import Running, Session
from atoll.node.search.sketches import CatalogueSketches, Doubts
from atoll.node.serving import Owner
from atoll.node.store.catalogue import Catalogue
from atoll.protocol.errors import NotFound
from atoll.protocol.ids import public_key
from atoll.protocol.listings import Listing
from atoll.protocol.match import AskedSketch, MatchRequest
from atoll.protocol.policy import NO_GRANTS, Asker, Grants

log = logging.getLogger("atoll.search")
KEPT = 64  # searches that are remembered, for whoever lost the connection and for predictions
KEPT_OF_STRANGERS = 16  # of those who have not signed in, beside


class Searcher:
    """Runs searches on the asyncio side, what takes time in threads."""

    def __init__(
        self, catalogue: Catalogue, owner: Owner, own: str, network: Network, peers: Peers, pseudonyms: Pseudonyms,
        grants: Callable[[int], Grants] = lambda _: NO_GRANTS,
    ) -> None:  # fmt: skip
        self._catalogue = catalogue
        self._sketches = CatalogueSketches(catalogue)
        self._owner = owner
        self._own = own
        self._own_key = public_key(own) if own else b""
        self._network = network
        self._peers = peers
        self._pseudonyms = pseudonyms
        self._grants = grants
        self._directory = Directory(peers.name, catalogue.record)
        self._pace = Pace()
        self._searches: OrderedDict[str, Running] = OrderedDict()
        self._listeners: list[Callable[[Running], None]] = []

    def on_end(self, listener: Callable[[Running], None]) -> None:
        """Call ``listener`` with every search that has ended, however it did."""
        self._listeners.append(listener)

    def start(self, query: SearchQuery) -> Running:
        """Begin a search; NodeBusy if as many are under way as are remembered, NotFound for an unknown island."""
        for each in query.specifications:
            self._catalogue.island(each.island)
        kind, room = query.user == "", KEPT_OF_STRANGERS if query.user == "" else KEPT
        alike = {id_: each for id_, each in self._searches.items() if (each.query.user == "") == kind}
        if len(alike) >= room:
            ended = next((id_ for id_, each in alike.items() if each.ended), None)
            if ended is None:
                raise NodeBusy(f"{room} searches are under way", hint="try again in a few seconds")
            del self._searches[ended]
        running = Running(secrets.token_hex(8), query)
        self._searches[running.id] = running
        running.task = asyncio.get_running_loop().create_task(self._run(running))
        running.task.add_done_callback(lambda _: self._ended(running))
        return running

    async def search(self, query: SearchQuery) -> SearchResult:
        """The answer, once it is complete."""
        return await self.start(query).answer()

    def by_words(self, query: SearchQuery) -> list[Listing]:
        """All of the catalogue that words, tags and filters fit, best first, no matter whose; blocking. Nobody is
        asked, and nothing is remembered."""
        now = now_ms()
        query = self._ours(query, now)
        alive = partial(self._catalogue.alive, now, query.semantic, query.filters.state)
        return [each.listing for each in plan(query, [], alive, self._sketches, now).candidates]

    def doubts(self, listings: Sequence[Listing]) -> list[Doubts]:
        """What is held against each of some listings, whatever is asked; blocking."""
        return self._sketches.doubts(listings, now_ms())

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

    @property
    def under_way(self) -> int:
        """Searches that have not ended yet."""
        return sum(not each.ended for each in self._searches.values())

    async def stop(self) -> None:
        """End what is under way; whoever waits for it is told that the node stops."""
        for each in self._searches.values():
            each.stop()
        tasks = [each.task for each in self._searches.values() if each.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def aclose(self) -> None:
        """As :meth:`stop`; nothing is searched afterwards."""
        await self.stop()
        await asyncio.to_thread(self._sketches.close)

    def _ours(self, query: SearchQuery, now: int) -> SearchQuery:
        """With what this node knows of what its users may do."""
        return msgspec.structs.replace(query, own=self._own_key, granted=self._grants(now))

    def _ended(self, running: Running) -> None:
        running.wake()
        for listener in self._listeners:
            listener(running)
        failed = len(running.result.peers_failed) if running.result is not None else 0
        log.info("a search has ended", extra={
            "search": running.id, "privacy": running.query.privacy, "whole": running.result is not None,
            "failed": failed, "stopped": running.stopped,
        })  # fmt: skip

    async def _run(self, running: Running) -> None:
        started, now = time.monotonic(), now_ms()
        query, islands = await asyncio.to_thread(everywhere, self._ours(running.query, now), self._catalogue, now)
        alive = partial(self._catalogue.alive, now, query.semantic, query.filters.state)
        planned = await asyncio.to_thread(plan, query, islands, alive, self._sketches, now)
        questions = list(planned.questions) if query.privacy != "local" else []
        deadline = query.deadline_ms / 1000
        fan_out = FanOut(questions, partial(self._ask, query, planned), self._peers, self._pace, deadline)
        await Inquiry(running, query, planned, fan_out, self._directory, self._own, started).run()

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
