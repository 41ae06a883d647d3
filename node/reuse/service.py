"""Reuse sessions: planned on what a search has found, started with the user's consent, reported, forgotten.

Rows leave this node only from a session that was started with ``send``. Nothing of the user's rows outlives the
session: it ends when it is forgotten, after an hour in which nobody looked at it, or with the node.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from atoll.engine.errors import AtollError
from atoll.engine.islands import Island
from atoll.engine.tables import Table
from atoll.node.config import ReuseSection
from atoll.node.errors import ConsentNeeded, NodeBusy, RequestInvalid
from atoll.node.journal import carrying
from atoll.node.language import in_each
from atoll.node.reuse.brief import Brief
from atoll.node.reuse.execution import Execution
from atoll.node.reuse.members import Workshop
from atoll.node.reuse.planning import Directory, plan, survey
from atoll.node.reuse.query import Place, ReuseQuery
from atoll.node.reuse.reporting import counted, report
from atoll.node.reuse.result import PredictionResult, ReuseReport, State
from atoll.node.reuse.rows import Labelled, Rows
from atoll.node.reuse.running import Reusing
from atoll.node.reuse.team import NEITHER, Team, Unusable, gather, place_of, team_of
from atoll.node.reuse.turns import Turns
from atoll.node.reuse.uploads import RowUploads
from atoll.node.search.plan import Candidate
from atoll.node.search.service import Searcher
from atoll.protocol.errors import NotFound, PolicyDenied
from atoll.protocol.listings import Listing

log = logging.getLogger("atoll.reuse")

T = TypeVar("T")
OF_USER, OF_ALL = 8, 64  # sessions that are remembered
PLANNING, PLANS_OF_USER, PLANS = 3, 4, 32  # plans that are made at a time, and that may be under way
AT_WORK_OF_USER, AT_WORK = 3, 8  # sessions that run at a time
ANSWERS = 8  # times the size of an upload, that the predictions of one user may take
CELL, QUOTES = 16, '\'""\n'  # bytes of a number in a CSV with its comma; what may stand around a label
LAST_FILES = 100  # that threads of a session may still make when it ends; they are three
UNUSED = 3600.0  # seconds, after which a session is forgotten
SWEEP = 60.0  # seconds


class Reuser:
    """Lives in the asyncio loop; models and matrices in threads. ``name`` tells the names of owners; ``clock`` gives
    seconds that only grow."""

    def __init__(
        self, searcher: Searcher, workshop: Workshop, name: Callable[[str], str], config: ReuseSection, folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._searcher = searcher
        self._workshop = workshop
        self._directory = Directory(name, workshop.downloads.cached, workshop.own)
        self._config = config
        self._folder = folder
        self._clock = clock
        self._turns = Turns("plans", PLANNING, PLANS_OF_USER, PLANS)
        self._sessions: OrderedDict[str, Reusing] = OrderedDict()
        self._listeners: list[Callable[[Reusing], None]] = []
        shutil.rmtree(folder, ignore_errors=True)
        self.uploads = RowUploads(folder / "rows", config.max_upload_bytes, config.max_rows, clock)

    async def plan(self, query: ReuseQuery, rows: Rows, labelled: Labelled | None = None) -> Reusing:
        """A session that waits to be started; nothing is sent. A file of rows that were not uploaded is taken over.

        NotFound, NothingFound or PolicyDenied as the search and its owners have it; FeatureMismatch, NotFinite or
        RequestInvalid where the data do not fit.
        """
        session = self._searcher.session(query.search_id, query.user)
        if not rows.digest:
            async with self._holding(query.user, partial(self.uploads.take, query.user, rows)) as taken:
                return await self.plan(query, taken, labelled)
        async with self._named(query.user, rows, labelled) as id_, self._turns.turn(query.user):
            gathering = partial(gather, session, query, labelled, self._workshop.own)
            team, skipped = await self._in_thread(gathering)
            return await self._plan(id_, team, skipped, query, rows, labelled)

    def start(self, id_: str, user: str, *, send: bool) -> Reusing:
        """Begin what was planned; a session that has begun goes on as it is. ConsentNeeded where rows would leave this
        node and ``send`` does not say so; NodeBusy where too many run."""
        reusing = self.reusing(id_, user)
        if reusing.task is not None:
            return reusing
        if reusing.plan.sends_rows and not send:
            raise ConsentNeeded(
                f"rows would leave this node: {' '.join(reusing.plan.leaves)}",
                hint='to allow it pass "send": true (send=True in Python, --yes on the command line)',
            )
        self._require_a_turn(user)
        reusing.send = send
        reusing.task = asyncio.get_running_loop().create_task(self._run(reusing))
        reusing.task.add_done_callback(partial(self._ended, reusing))
        return reusing

    def reusing(self, id_: str, user: str) -> Reusing:
        """A remembered session of this user, or NotFound."""
        found = self._sessions.get(id_)
        if found is None or found.query.user != user:
            raise NotFound("this reuse session is not remembered (any more)", hint="plan another one")
        found.used = self._clock()
        return found

    def states(self) -> Counter[State]:
        """How many sessions are remembered, by how far they are."""
        return Counter(each.state for each in self._sessions.values())

    async def forget(self, id_: str, user: str) -> None:
        """End it if it runs, and remove it with its rows and predictions."""
        await self._forget(self.reusing(id_, user))

    async def predict(
        self, search_id: str, rows: Table, prefer: Place = "local", force: bool = False, user: str = "",
        send: bool = False,
    ) -> PredictionResult:  # fmt: skip
        """Plan, start and forget at once, for few rows (raw units)."""
        query = ReuseQuery(search_id, prefer=prefer, force=force, user=user)
        async with self._holding(user, partial(self.uploads.keep, user, rows)) as kept:
            reusing = await self.plan(query, kept)
        return await self._at_once(reusing, send)

    async def predict_with(
        self, listing: Listing, island: Island, rows: Table, prefer: Place = "local", user: str = "",
        send: bool = False,
    ) -> PredictionResult:  # fmt: skip
        """The same with one learnware, as its owner allows the user."""
        query = ReuseQuery("", method="single", prefer=prefer, user=user)
        summary = next(each for each in listing.specifications if each.island == island.digest)
        member = Candidate(listing, summary, may=await self._workshop.may(listing, user))
        if place_of(member, query, self._workshop.own) is None:
            raise PolicyDenied(NEITHER, hint="ask for it: `atoll learnware ask`")
        team = team_of(island, (member,), (1.0,), query, None, self._workshop.own)
        async with (
            self._holding(user, partial(self.uploads.keep, user, rows)) as kept,
            self._named(user, kept, None) as id_,
            self._turns.turn(user),
        ):
            reusing = await self._plan(id_, team, {}, query, kept, None)
        return await self._at_once(reusing, send)

    async def tidy(self) -> None:
        """Forget what nobody uses any more, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP)
            await self.expire()

    async def expire(self) -> None:
        """Forget what nobody has used for an hour, and end it if it runs; who waits for its events uses it."""
        now = self._clock()
        before = now - UNUSED
        for reusing in self._sessions.values():
            reusing.used = now if reusing.followed else reusing.used
        for reusing in [each for each in self._sessions.values() if each.used < before]:
            await self._forget(reusing)
        await asyncio.to_thread(self.uploads.expire, before)

    def on_end(self, listener: Callable[[Reusing], None]) -> None:
        """Call ``listener`` with every session that was started and has ended, however it did."""
        self._listeners.append(listener)

    async def stop(self) -> None:
        """End what runs; whoever waits for it is told that the node stops."""
        for reusing in self._sessions.values():
            reusing.stop()
        tasks = [each.task for each in self._sessions.values() if each.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def aclose(self) -> None:
        """End what is under way; nothing of it stays."""
        for reusing in list(self._sessions.values()):
            await self._forget(reusing)
        self._workshop.threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def _require_a_turn(self, user: str) -> None:
        running = [each.query.user for each in self._sessions.values() if each.state == "running"]
        if running.count(user) >= AT_WORK_OF_USER:
            raise NodeBusy(f"{AT_WORK_OF_USER} predictions of yours run already", hint="wait for one, or forget it")
        if len(running) >= AT_WORK:
            raise NodeBusy(f"{AT_WORK} predictions run already", hint="try again in a few seconds")

    @asynccontextmanager
    async def _holding(self, user: str, bring: Callable[[str], Rows]) -> AsyncIterator[Rows]:
        """Rows that nobody has uploaded: without a session that uses them they are gone at the end of the block."""
        holder = secrets.token_hex(8)
        try:
            yield await asyncio.to_thread(bring, holder)
        finally:
            await asyncio.to_thread(self.uploads.release, user, holder)

    @asynccontextmanager
    async def _named(self, user: str, rows: Rows, labelled: Labelled | None) -> AsyncIterator[str]:
        """The id of a session to be, which uses its rows from now on; they stay, for another attempt, where it does not
        come to be."""
        id_ = secrets.token_hex(8)
        digests = [rows.digest] + ([labelled.digest] if labelled is not None and labelled.digest else [])
        await asyncio.to_thread(self.uploads.use, user, digests, id_)
        try:
            yield id_
        except BaseException:
            await asyncio.to_thread(self.uploads.release, user, id_, keep=True)
            raise

    async def _plan(
        self, id_: str, team: Team, skipped: Mapping[str, Unusable], query: ReuseQuery, rows: Rows,
        labelled: Labelled | None,
    ) -> Reusing:  # fmt: skip
        brief = await self._in_thread(partial(Brief.of, team, query, rows, labelled))
        surveyed = await self._in_thread(partial(survey, brief, query))
        making = partial(plan, id_, query, brief, surveyed, skipped, self._directory)
        plans = await asyncio.to_thread(in_each, making)
        folder = self._folder / id_
        try:
            await asyncio.to_thread(folder.mkdir, mode=0o700)
            await self._make_room(query.user, _room(rows, team))  # nobody else takes it: there is no wait after it
        except BaseException:
            await asyncio.to_thread(_remove, folder)
            raise
        reusing = self._sessions[id_] = Reusing(query, plans, brief, folder, self._clock())
        return reusing

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._workshop.threads, carrying(work))

    async def _make_room(self, user: str, size: int) -> None:
        """Forget the oldest sessions of a user, and of all, until one more with predictions of ``size`` bytes fits."""
        most = ANSWERS * self._config.max_upload_bytes
        if size > most:
            raise RequestInvalid(f"the predictions would take {size} bytes, at most {most} do", hint="send fewer rows")
        while True:
            own = [each for each in self._sessions.values() if each.query.user == user]
            taken = size + sum(_room(each.brief.rows, each.brief.team) for each in own)
            if len(own) < OF_USER and taken <= most and len(self._sessions) < OF_ALL:
                return
            among = own if len(own) >= OF_USER or taken > most else list(self._sessions.values())
            oldest = min((each for each in among if each.state != "running"), key=lambda each: each.used, default=None)
            if oldest is None:
                raise NodeBusy("too many predictions are under way", hint="wait for yours, or forget one of them")
            await self._forget(oldest)

    async def _run(self, reusing: Reusing) -> None:
        try:
            reusing.reports = await self._carried_out(reusing)
        except AtollError:
            raise
        except Exception as error:
            log.exception("reuse %s has failed", reusing.id)
            raise AtollError("it failed; the node's log says why") from error
        reusing.used = self._clock()
        reusing.emit("end", reusing.report)

    async def _carried_out(self, reusing: Reusing) -> dict[str, ReuseReport]:
        began = time.monotonic()
        try:
            async with AsyncExitStack() as stack:
                execution = Execution(reusing, self._workshop.open, self._workshop.threads, stack)
                await execution.run()
        except BaseExceptionGroup as group:
            raise _cause(group) from None
        elapsed = int((time.monotonic() - began) * 1000)
        found = await asyncio.to_thread(counted, reusing)
        return await asyncio.to_thread(in_each, partial(report, reusing, execution, found, elapsed))

    def _ended(self, reusing: Reusing, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # whoever follows the session is told
        reusing.wake()
        for listener in self._listeners:
            listener(reusing)
        log.info(
            "a prediction has ended", extra={"reuse": reusing.id, "state": reusing.state, "stopped": reusing.stopped}
        )

    async def _at_once(self, reusing: Reusing, send: bool) -> PredictionResult:
        try:
            told = await self.start(reusing.id, reusing.query.user, send=send).result()
            values = await asyncio.to_thread(np.load, reusing.predictions)
        finally:
            await self._forget(reusing)
        lost = int(np.isnan(values).any(axis=1).sum())
        if lost:
            raise PolicyDenied(f"no owner answers about {lost} of {len(values)} rows", hint="reuse them in a session")
        labels = tuple(told.class_names[place] for place in values.argmax(axis=1)) if told.class_names else ()
        places = {each.learnware_id: each.place for each in told.members if not each.failed}
        return PredictionResult(
            told.class_names, labels, tuple(map(tuple, values.tolist())), told.rows_local, told.rows_remote, places,
            reusing.plan.skipped | {each.learnware_id: each.failed for each in told.members if each.failed},
        )  # fmt: skip

    async def _forget(self, reusing: Reusing) -> None:
        self._sessions.pop(reusing.id, None)
        if reusing.task is not None:
            reusing.task.cancel()
            await asyncio.gather(reusing.task, return_exceptions=True)
        reusing.forgotten = True
        reusing.wake()
        await asyncio.to_thread(self.uploads.release, reusing.query.user, reusing.id)
        await asyncio.to_thread(_remove, reusing.folder)


def _room(rows: Rows, team: Team) -> int:
    """Bytes that predictions may take: the array, and the CSV beside it with a label in each row."""
    label = max((len(name.encode(errors="replace")) for name in team.class_names), default=0)
    return rows.count * ((8 + CELL) * team.width + label + len(QUOTES))


def _remove(folder: Path) -> None:
    """Also while a thread whose session has ended writes a last file into it: without the folder it writes none."""
    for _ in range(LAST_FILES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of ours, else the first."""
    leaves: list[BaseException] = []
    found: list[BaseException] = [group]
    while found:
        each = found.pop(0)
        if isinstance(each, BaseExceptionGroup):
            found += each.exceptions
        else:
            leaves.append(each)
    return next((each for each in leaves if isinstance(each, AtollError)), leaves[0])
