"""Round 1, sent: all owners at once, and none is waited for longer than it usually takes (network.md, section 7)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
from atoll.engine.errors import AtollError
from atoll.node.clock import now_ms
from atoll.node.p2p.errors import ChannelClosed, PeerTimeout
from atoll.node.p2p.peers import Peers
from atoll.node.search.hearing import Heard
from atoll.node.search.plan import Question
from atoll.node.search.query import PeerDone, PeerFailed

log = logging.getLogger("atoll.search")

LEAST_PATIENCE = 0.2  # seconds that every owner has
USUAL = 95  # per cent of the answers of a peer that come within what it usually takes
REMEMBERED, KNOWN_FROM = 64, 8  # answers of a peer; fewer say nothing of what is usual
FAIR = 1.0  # seconds without an answer that are held against a peer

Ask = Callable[[Question], Awaitable[Heard]]


class Complete:
    """What is waited for has come: whoever is late corrects the answer."""


class Pace:
    """How long peers have taken to answer, in seconds."""

    def __init__(self) -> None:
        self._taken: dict[str, deque[float]] = {}

    def note(self, peer: str, seconds: float) -> None:
        self._taken.setdefault(peer, deque(maxlen=REMEMBERED)).append(seconds)

    def patience(self, peer: str, deadline: float) -> float:
        """How long to wait for a peer: twice what it usually takes; until the ``deadline`` if nobody knows."""
        taken = self._taken.get(peer, ())
        if len(taken) < KNOWN_FROM:
            return deadline
        return min(deadline, max(LEAST_PATIENCE, 2.0 * float(np.percentile(taken, USUAL))))


@dataclass
class FanOut:
    """``replies`` and ``failed`` (why, by peer) grow while :meth:`progress` is followed. Questions may be added after
    that, and followed again, until the deadline of the first."""

    questions: list[Question]
    ask: Ask
    peers: Peers
    pace: Pace
    deadline: float
    replies: dict[Question, Heard] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    _asked: int = 0
    _until: float = 0.0

    async def progress(self) -> AsyncIterator[PeerDone | PeerFailed | Complete]:
        """Each peer as it has answered or failed, and once Complete: when all that are still silent are late."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        self._until = self._until or started + self.deadline
        questions, self._asked = self.questions[self._asked :], len(self.questions)
        for peer in dict.fromkeys(question[0] for question in questions):
            try:
                self.peers.require_answering(peer, now_ms())
            except AtollError as error:
                self.failed[peer] = f"{error.code}: {error.message}"
                yield PeerFailed(peer, self.failed[peer])
        asked = [question for question in questions if question[0] not in self.failed]
        tasks = {loop.create_task(self._ask(question)): question for question in asked}
        pending, complete = set(tasks), False
        try:
            while pending and (left := self._until - loop.time()) > 0:
                if not complete:
                    patience = max(self.pace.patience(tasks[task][0], self.deadline) for task in pending)
                    left = min(left, started + patience - loop.time())
                    if left <= 0:
                        complete = True
                        yield Complete()
                        continue
                done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                waited_for = {tasks[task][0] for task in pending}
                for peer in dict.fromkeys(tasks[task][0] for task in done):
                    if peer not in waited_for:
                        yield PeerFailed(peer, self.failed[peer]) if peer in self.failed else PeerDone(peer)
            for peer in dict.fromkeys(tasks[task][0] for task in pending):
                self._give_up(peer, loop.time() - started)
                yield PeerFailed(peer, self.failed[peer])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not complete:
            yield Complete()

    def late(self) -> dict[str, str]:
        """Who has not answered everything yet, and what is said of it."""
        silent = dict.fromkeys(question[0] for question in self.questions if question not in self.replies)
        return {peer: "search.late: it has not answered yet" for peer in silent if peer not in self.failed}

    def has_time(self) -> bool:
        """Whether somebody could still answer who is asked now."""
        return self._until - asyncio.get_running_loop().time() >= LEAST_PATIENCE

    async def _ask(self, question: Question) -> None:
        peer, started = question[0], asyncio.get_running_loop().time()
        try:
            self.replies[question] = await self.ask(question)
        except AtollError as error:
            log.info("a peer has not answered", extra={"peer": peer, "code": error.code})
            self.failed[peer] = f"{error.code}: {error.message}"
            if isinstance(error, ChannelClosed) or (isinstance(error, PeerTimeout) and self.deadline >= FAIR):
                self.peers.unanswered(peer, now_ms())
        except Exception as error:  # the outermost edge of the task: a fault of ours, and no answer
            log.error("an answer was not understood", exc_info=error, extra={"peer": peer})
            self.failed[peer] = f"internal: {type(error).__name__}"
        else:
            self.pace.note(peer, asyncio.get_running_loop().time() - started)
            self.peers.answered(peer)

    def _give_up(self, peer: str, waited: float) -> None:
        log.info("a peer has not answered", extra={"peer": peer, "code": PeerTimeout.code})
        self.failed[peer] = f"{PeerTimeout.code}: no answer within the deadline"
        if waited >= FAIR:
            self.peers.unanswered(peer, now_ms())
