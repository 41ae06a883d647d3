"""Search: plan on the catalogue, fan out to the owners under one deadline, merge; nothing waits for the slowest."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
from atoll.engine.islands import Island
from atoll.engine.specs.moving import moved, reachable
from atoll.engine.specs.noised import NoisedSketch
from atoll.node.clock import now_ms
from atoll.node.errors import NodeBusy
from atoll.node.p2p.network import Network
from atoll.node.p2p.peers import Peers
from atoll.node.pseudonyms import Pseudonyms
from atoll.node.search import merge
from atoll.node.search.asking import Complete, FanOut, Pace
from atoll.node.search.certainty import certain, contends
from atoll.node.search.hearing import ANSWERS, Heard, hear
from atoll.node.search.plan import SEEN, Candidate, Plan, Question, plan, rank
from atoll.node.search.query import (
    MAX_ISLANDS,
    Hit,
    MixtureView,
    PeerDone,
    SearchPlan,
    SearchQuery,
    SearchResult,
    SpecificationQuery,
)
from atoll.node.search.running import Running, Session
from atoll.node.search.settling import Settled, settle
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

    async def _run(self, running: Running) -> None:
        started, now = time.monotonic(), now_ms()
        query, islands = await asyncio.to_thread(self._everywhere, running.query, now)
        alive = partial(self._catalogue.alive, now, query.semantic)
        planned = await asyncio.to_thread(plan, query, islands, alive, self._sketches, now)
        questions = planned.questions if query.privacy != "local" else ()
        asked = tuple(sorted({question[0] for question in questions}))
        leaves = self._leaves(query, asked)
        names = tuple(island.id for island in islands)
        running.emit("plan", SearchPlan(running.id, names, query.privacy, leaves, asked))
        running.candidates = planned.candidates
        for hit in await asyncio.to_thread(self._hits, query, _folded(planned.candidates), None):
            running.emit("hit", hit)
        deadline = query.deadline_ms / 1000
        fan_out = FanOut(questions, partial(self._ask, query, planned), self._peers, self._pace, deadline)

        async def answer(final: bool) -> SearchResult:
            failed = {**fan_out.failed, **({} if final else fan_out.late())}
            settled = await asyncio.to_thread(settle, planned, query.user, dict(fan_out.replies))
            found = await asyncio.to_thread(self._merge, query, planned, settled)
            running.candidates, running.session = settled.candidates, found[3]
            return SearchResult(
                search_id=running.id,
                hits=found[0],
                mixture=found[2],
                islands=names,
                peers_asked=asked,
                peers_answered=tuple(peer for peer in asked if peer not in failed),
                peers_failed=failed,
                complete=not failed,
                advice=_advice(query, settled, found[2]),
                elapsed_ms=int((time.monotonic() - started) * 1000),
                topk_exact=found[1],
                peers_doubted=tuple(sorted(settled.doubted)),
                leaves=leaves,
                final=final,
            )

        await self._follow(running, fan_out, answer)

    def _everywhere(self, query: SearchQuery, now: int) -> tuple[SearchQuery, list[Island]]:
        """The query in every island that what was given can be moved into, those with most listings first, and the
        islands."""
        islands = [self._catalogue.island(each.island) for each in query.specifications]
        known = self._catalogue.islands()
        more: dict[bytes, tuple[int, Island, SpecificationQuery]] = {}
        for source, each in zip(islands, query.specifications, strict=True):
            for target in reachable(source, known) if each.rkme is not None else ():
                if target.digest not in more and target not in islands:
                    more[target.digest] = (len(self._catalogue.in_island(target.digest, now)), source, each)
        chosen = sorted(more, key=lambda digest: (-more[digest][0], digest))[: max(0, MAX_ISLANDS - len(islands))]
        added = []
        for digest in chosen:
            listings, source, each = more[digest]
            if listings and each.rkme is not None:
                target = self._catalogue.island(digest)
                there = SpecificationQuery(digest, moved(each.rkme, source, target))
                if there.norm2 < SEEN:  # its units are so coarse, or its kernel so wide, that it tells nothing apart
                    islands.append(target)
                    added.append(there)
        return msgspec.structs.replace(query, specifications=(*query.specifications, *added)), islands

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

    def _merge(
        self, query: SearchQuery, planned: Plan, settled: Settled
    ) -> tuple[tuple[Hit, ...], bool, MixtureView | None, Session | None]:
        """(hits, whether they are certain, mixture, what a prediction needs)"""
        folded = _folded(settled.candidates)
        found, session = _best_mixture(query, folded.ranked, planned)
        hits = self._hits(query, folded, session)
        sure = not query.specifications or (not settled.doubted and _certain(query, folded, settled, hits, session))
        return hits, sure, found, session

    def _hits(self, query: SearchQuery, folded: merge.Folded, session: Session | None) -> tuple[Hit, ...]:
        norms = {each.island: each.norm2 for each in query.specifications}
        return merge.hits(folded, _weights(session), norms, self._peers.name, self._catalogue.record, query.limit)

    def _leaves(self, query: SearchQuery, asked: tuple[str, ...]) -> str:
        """What leaves this node, in words."""
        others = [peer for peer in asked if peer != self._own]
        if not others:
            return "Nothing leaves this node."
        names = ", ".join(sorted(self._peers.name(peer) or peer for peer in others)[:8])
        more = f" and {len(others) - 8} more" if len(others) > 8 else ""
        if query.privacy == "sketch":
            return f"{_sketches(query)} goes to {names}{more}; the reduced set stays here."
        points = " and ".join(f"{len(each.rkme.points)} points" for each in query.specifications if each.rkme)
        return f"The reduced set ({points} made from your rows, none of them a row) goes to {names}{more}."


def _sketches(query: SearchQuery) -> str:
    each = "A sketch of your data (512 numbers)"
    noised = [spec.given.dp for spec in query.specifications if isinstance(spec.given, NoisedSketch)]
    if not noised:
        return each
    return f"{each} with noise (differential privacy: epsilon {sum(dp.epsilon for dp in noised):g} in all)"


def _matchable(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that the user may match: the others are asked about, since their owners may allow it to some."""
    return [candidate for candidate in candidates if "match" in candidate.may]


def _folded(candidates: Iterable[Candidate]) -> merge.Folded:
    matchable = _matchable(candidates)
    return merge.fold(rank(matchable), matchable)


def _weights(session: Session | None) -> dict[tuple[str, bytes], float]:
    """Of the mixture's members."""
    if session is None:
        return {}
    weights = (member.weight for member in session.mixture.members)
    return {each.key: weight for each, weight in zip(session.members, weights, strict=True)}


def _certain(
    query: SearchQuery, folded: merge.Folded, settled: Settled, shown: tuple[Hit, ...], session: Session | None
) -> bool:
    """Whether what is shown, in its order, is what owners would say who had all been asked about everything.

    Copies come in with what they are copies of. What is demoted comes after whatever else there is, and is that for
    certain if it has been measured and an exact mixture gives it no weight. Of a user whom nobody knows but by noise
    nothing is certain.
    """
    if any(each.rkme is None for each in query.specifications):
        return False
    weights = _weights(session)
    last, here = {each.key for each in folded.ranked if merge.demoted(each, weights)}, {e.key for e in folded.ranked}
    ranked = [each for each in folded.ranked if each.key not in last]
    places = {(each.id, each.owner): place for place, each in enumerate(ranked)}
    deepest = max((places.get((hit.learnware_id, hit.owner), len(ranked)) for hit in shown), default=len(ranked))
    full = len(shown) == query.limit and deepest < len(ranked)
    considered = ranked[: deepest + 1] if full else ranked
    reach = max((each.most for each in considered), default=np.inf) if full else np.inf
    doubtful = [each for each in folded.ranked if each.doubtful and each.least <= reach]
    exact = session is not None and session.mixture.representation == "rkme"
    if doubtful and not (exact and all(not each.estimated and each.key not in weights for each in doubtful)):
        return False
    aside = last | folded.hidden
    others = [each for each in settled.candidates if contends(each) and each.key not in aside]
    if not full and (np.isfinite(settled.outside) or not {each.key for each in others} <= here):
        return False
    return certain(ranked, others, settled.outside, len(considered))


def _best_mixture(
    query: SearchQuery, ranked: Sequence[Candidate], planned: Plan
) -> tuple[MixtureView | None, Session | None]:
    """Of the query's islands, the one whose mixture explains the user best."""
    best: tuple[MixtureView, Session] | None = None
    for field, asked in zip(planned.fields, query.specifications, strict=True):
        view, members = merge.mixture(ranked, asked, field)
        if best is None or view.explained > best[0].explained:
            best = (view, Session(field.island, members, view))
    return best or (None, None)


def _advice(query: SearchQuery, settled: Settled, found: MixtureView | None) -> str:
    anything = any("match" in each.may for each in settled.candidates)
    if not query.specifications:
        return "" if anything else "No learnware fits these words and tags."
    if not anything:
        return "No learnware is in an island compatible with your data."
    if found is None or not found.served:
        return "No learnware here covers your data: predictions would be guesses."
    return ""
