"""Search: plan on the catalogue, fan out to the owners under one deadline, merge; nothing waits for the slowest."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable

import msgspec
from atoll.engine.errors import AtollError
from atoll.engine.islands import Island
from atoll.node.clock import now_ms
from atoll.node.p2p.network import Network
from atoll.node.p2p.peers import Peers
from atoll.node.pseudonyms import Pseudonyms
from atoll.node.search import merge
from atoll.node.search.certainty import certain, contends
from atoll.node.search.plan import Candidate, Plan, plan, rank
from atoll.node.search.query import Hit, MixtureView, SearchQuery, SearchResult
from atoll.node.serving import Owner
from atoll.node.store.catalogue import Catalogue
from atoll.protocol.errors import NotFound
from atoll.protocol.match import MatchReply, MatchRequest
from atoll.protocol.policy import Asker

ANSWERS = 50  # learnwares that an owner names, at most
KEPT = 64  # searches that a later prediction can refer to
Emit = Callable[[str, object], Awaitable[None]]
Question = tuple[str, bytes, bytes]


class Session(msgspec.Struct, frozen=True):
    """What a prediction needs of a search."""

    island: Island
    members: tuple[Candidate, ...]
    mixture: MixtureView


class PeerFailed(msgspec.Struct, frozen=True):
    """An event of the stream: a peer that did not answer, and why."""

    peer: str
    why: str


class Searcher:
    """Runs searches on the asyncio side; remembers the last ones for reuse."""

    def __init__(
        self, catalogue: Catalogue, owner: Owner, own: str, network: Network, peers: Peers, pseudonyms: Pseudonyms
    ) -> None:
        self._catalogue = catalogue
        self._owner = owner
        self._own = own
        self._network = network
        self._peers = peers
        self._pseudonyms = pseudonyms
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def session(self, search_id: str) -> Session:
        """A remembered search that found a mixture, or NotFound."""
        if search_id not in self._sessions:
            raise NotFound("this search is not remembered (any more)", hint="search again")
        return self._sessions[search_id]

    async def search(self, query: SearchQuery, emit: Emit) -> SearchResult:
        """Run a search. ``emit(event, value)`` hears of hits, peers and the mixture as they come."""
        started = time.monotonic()
        islands = [self._catalogue.island(each.island) for each in query.specifications]
        alive = await asyncio.to_thread(self._catalogue.alive, now_ms(), query.semantic)
        planned = await asyncio.to_thread(plan, query, islands, alive)
        norms = {each.island: each.rkme.norm2 for each in query.specifications}
        for hit in self._hits(_matchable(planned.candidates), norms, query.limit):
            await emit("hit", hit)
        questions = planned.questions if query.privacy == "rkme" else ()
        answers, failed = await self._fan_out(query, questions, emit)
        everybody = _settle(planned, answers)
        settled = rank(_matchable(everybody))
        hits = self._hits(settled, norms, query.limit)
        found, session = await asyncio.to_thread(_best_mixture, query, islands, settled, planned)
        search_id = secrets.token_hex(8)
        if session is not None:
            self._remember(search_id, session)
        asked = sorted({question[0] for question in questions})
        return SearchResult(
            search_id=search_id,
            hits=hits,
            mixture=found,
            islands=tuple(island.id for island in islands),
            peers_asked=tuple(asked),
            peers_answered=tuple(peer for peer in asked if peer not in failed),
            peers_failed=failed,
            complete=not failed,
            advice=_advice(query, settled, found),
            topk_exact=await asyncio.to_thread(_certain, query, settled, everybody, hits),
            elapsed_ms=int((time.monotonic() - started) * 1000),
        )

    async def _fan_out(
        self, query: SearchQuery, questions: tuple[Question, ...], emit: Emit
    ) -> tuple[dict[Question, MatchReply], dict[str, str]]:
        """Ask all owners at once; whoever has not answered at the deadline is named."""
        answers: dict[Question, MatchReply] = {}
        failed: dict[str, str] = {}

        async def ask(question: Question) -> None:
            try:
                answers[question] = await self._ask(query, question)
                await emit("peer_done", {"peer": question[0]})
            except AtollError as error:
                failed[question[0]] = f"{error.code}: {error.message}"
                await emit("peer_failed", PeerFailed(question[0], error.message))

        try:
            async with asyncio.timeout(query.deadline_ms / 1000), asyncio.TaskGroup() as group:
                for question in questions:
                    group.create_task(ask(question))
        except TimeoutError:
            for peer, *_ in questions:
                if not any(question[0] == peer for question in answers) and peer not in failed:
                    failed[peer] = "p2p.timeout: no answer within the deadline"
                    await emit("peer_failed", PeerFailed(peer, failed[peer]))
        return answers, failed

    async def _ask(self, query: SearchQuery, question: Question) -> MatchReply:
        peer, federation, island = question
        rkme = next(each.rkme for each in query.specifications if each.island == island)
        user = self._pseudonyms.of(query.user, federation)
        message = MatchRequest(federation, island, rkme.record(), query.semantic, ANSWERS, user)
        if peer == self._own:
            return await asyncio.to_thread(self._owner.match, Asker(peer, user), message)
        return await self._network.match(peer, message, query.deadline_ms / 1000)

    def _hits(
        self, candidates: tuple[Candidate, ...] | list[Candidate], norms: dict[bytes, float], limit: int
    ) -> tuple[Hit, ...]:
        names = {peer: self._peers.name(peer) for peer in {candidate.owner for candidate in candidates}}
        return merge.hits(candidates, norms, names, limit)

    def _remember(self, search_id: str, session: Session) -> None:
        self._sessions[search_id] = session
        while len(self._sessions) > KEPT:
            self._sessions.popitem(last=False)


def _matchable(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that the user may match: the others are asked about, since their owners may allow it to some."""
    return [candidate for candidate in candidates if "match" in candidate.may]


def _settle(planned: Plan, answers: dict[Question, MatchReply]) -> list[Candidate]:
    exact = {
        (peer, answer.learnware_id, island): answer
        for (peer, _, island), reply in answers.items()
        for answer in reply.answers
    }
    settled = []
    for candidate in planned.candidates:
        island = candidate.summary.island if candidate.summary else b""
        answer = exact.get((candidate.owner, candidate.listing.learnware_id, island))
        reply = answers.get((candidate.owner, candidate.listing.federation, island))
        if answer is None and reply is not None:
            candidate = merge.left_out(candidate, reply, ANSWERS)
        settled.append(merge.settle(candidate, answer) if answer else candidate)
    return settled


def _certain(query: SearchQuery, ranked: list[Candidate], everybody: list[Candidate], shown: tuple[Hit, ...]) -> bool:
    """Whether what is shown, in its order, is what owners would say who had all been asked about everything."""
    places = len(ranked)
    if len(shown) == query.limit:
        places = 1 + next(place for place, each in enumerate(ranked) if each.id == shown[-1].learnware_id)
    return certain(ranked, filter(contends, everybody), places)


def _best_mixture(
    query: SearchQuery, islands: list[Island], settled: list[Candidate], planned: Plan
) -> tuple[MixtureView | None, Session | None]:
    """Of the query's islands, the one whose mixture explains the user best."""
    best: tuple[MixtureView, Session] | None = None
    for island, asked in zip(islands, query.specifications, strict=True):
        view, members = merge.mixture(settled, asked, planned.sketches[island.digest])
        if best is None or view.explained > best[0].explained:
            best = (view, Session(island, members, view))
    return best or (None, None)


def _advice(query: SearchQuery, settled: list[Candidate], found: MixtureView | None) -> str:
    if not query.specifications:
        return "" if settled else "No learnware fits these words and tags."
    if not settled:
        return "No learnware is in an island compatible with your data."
    if found is None or not found.served:
        return "No learnware here covers your data: predictions would be guesses."
    return ""
