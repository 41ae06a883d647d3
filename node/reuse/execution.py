"""A session's run: labels first, where there are any, then the rows block by block, a few blocks at a time.

Promises: memory is bounded by the blocks; a member that fails is left out from there on, its unanswered rows go to the
others; what has been answered stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
import numpy as np
from atoll.engine.errors import AtollError
from atoll.engine.reuse import Choice, Method, Reuser, choose
from atoll.engine.reuse.labels import spread
from atoll.node.errors import ConsentNeeded
from atoll.node.reuse.answers import Answers
from atoll.node.reuse.brief import Brief
from atoll.node.reuse.ensemble import Coverage, Ensemble, Floats, Lesson, Mask, Units, make, task_of
from atoll.node.reuse.members import Opening, width_of
from atoll.node.reuse.planning import method_of
from atoll.node.reuse.result import Chosen, Downloading, MemberFailed, Progress
from atoll.node.reuse.running import Reusing
from atoll.node.reuse.workers import Worker, declines
from atoll.protocol.errors import OffSpecification, PolicyDenied
from numpy.typing import NDArray

T = TypeVar("T")
Places = NDArray[np.int64]
AT_A_TIME = 3  # blocks
STEPS = 200  # progress events, about
TRIED: tuple[Method, ...] = ("routing", "averaging", "vote", "single", "pruning", "augmentation")


class Execution:
    """One run of a session; ``threads`` is for what takes time."""

    def __init__(self, reusing: Reusing, opening: Opening, threads: Executor, stack: AsyncExitStack) -> None:
        self._reusing = reusing
        self._brief: Brief = reusing.brief
        self._team = reusing.brief.team
        self._threads = threads
        self.workers = tuple(
            Worker(partial(opening, member, place, self._team.island, reusing.query.user, self._fetched(member.id)),
                   stack, width_of(member.listing))
            for member, place in zip(self._team.members, self._team.places, strict=True)
        )  # fmt: skip
        self._keep_here()
        self.shares = np.zeros(len(self.workers))  # summed over rows
        self.uncovered = self.lost = self.unanswered = 0
        self.choice: Choice | None = None
        self.method: Method = "routing"
        self.taught = ((0, 0),) * len(self.workers)  # labelled rows that each was asked, and has answered
        self._total = max(1, sum(member.rows for member in reusing.plan.members))
        self._told = 0
        self._noted: set[int] = set()
        self._declined = ""

    async def run(self) -> None:
        """The predictions are in their file at the end; rows may still be without an answer. Where no member is left,
        what has ended the only one, or PolicyDenied with all that has ended them; OffSpecification if all decline."""
        self._coverage = await self._in_thread(partial(Coverage, self._team, self._brief.sample))
        method, lesson = method_of(self._reusing.query, self._brief), None
        if self._brief.target is not None:
            lesson = await self._lesson()
            self.taught = tuple((worker.asked, worker.answered) for worker in self.workers)
            self.choice = await self._in_thread(partial(self._choose, method, lesson))
            method = msgspec.convert(self.choice.method, Method)
            told = {name: (loss.mean, loss.error) for name, loss in self.choice.validation.items()}
            self._reusing.emit("chosen", Chosen(method, told))
        assert method != "auto"  # labels have chosen
        self.method = method
        self._ensemble = Ensemble(self._team, method, self._brief.sample, lesson)
        await self._in_thread(partial(_create, self._reusing.predictions, self._brief.rows.count, self._team.width))
        blocks = self._brief.blocks()
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_A_TIME):
                group.create_task(self._work(blocks))
        self._require_answers()

    async def _work(self, blocks: Iterator[Places]) -> None:
        for places in blocks:
            raw = await self._in_thread(partial(self._brief.raw, places))
            units = await self._in_thread(partial(self._brief.in_units, raw))
            shares, values = await self._block(raw, units)
            await self._in_thread(partial(_write, self._reusing.predictions, places, values))
            self.shares += shares.sum(axis=0)
            self.unanswered += int(np.isnan(values).any(axis=1).sum())

    async def _block(self, raw: Floats, units: Units) -> tuple[Floats, Floats]:
        """Shares (n, k) and answers (n, c) of one block."""
        covered = await self._in_thread(partial(self._coverage.covered, units))
        said = Answers.none(len(raw), len(self.workers), self._team.width)
        if self._reusing.query.abstain:
            said.closed[~covered] = True
        while True:
            self._close_failed(said)
            shares = await self._in_thread(partial(self._ensemble.shares, units, said.closed))
            wanted = (shares > 0) & ~said.answered & ~said.declined
            if wanted.any():
                await self._ask(raw, units, wanted, said)
            elif not said.close_declined():
                break
        combine = partial(self._ensemble.combine, units, shares, said.outputs, said.closed)
        values = await self._in_thread(combine)
        kept = covered
        if said.closed.any():
            kept = covered & await self._in_thread(partial(self._coverage.covered, units, said.closed))
        self.uncovered += int((~kept).sum())
        self.lost += int((covered & ~kept).sum())
        if self._reusing.query.abstain:
            values[~kept] = np.nan
        return shares, values

    async def _lesson(self) -> Lesson:
        """What the members say of the labelled rows: of all of them, or where an owner declines, of its own."""
        assert self._brief.target is not None
        raw = await self._in_thread(self._brief.raw_labelled)
        units = await self._in_thread(partial(self._brief.in_units, raw))
        said = Answers.none(len(raw), len(self.workers), self._team.width)
        await self._ask(raw, units, ~said.answered, said)
        if not said.answered.any():
            raise OffSpecification(
                f"no member answers about the labelled rows: {self._declined}", hint="try without labels"
            )
        return Lesson(units, said.outputs, self._brief.target)

    async def _ask(self, raw: Floats, units: Units, wanted: Mask, said: Answers) -> None:
        """Ask all members about the rows that are wanted of them, and note what they say, or that they do not."""
        async with asyncio.TaskGroup() as group:
            for place in np.flatnonzero(wanted.any(axis=0)).tolist():
                group.create_task(self._ask_one(place, raw, units, np.flatnonzero(wanted[:, place]), said))
        self._require_somebody()

    async def _ask_one(self, place: int, raw: Floats, units: Units, rows: Places, said: Answers) -> None:
        """One member, about some rows; if its owner declines them, about those of them that are likest its data."""
        told = await self.workers[place].ask(raw[rows].astype(np.float32))
        if told.number:
            there = rows[told.rows]
            said.outputs[there, place] = self._aligned(place, told.values[told.rows].astype(np.float64))
            said.answered[there, place] = True
            self._tell_progress()
        if told.error is not None and declines(told):
            self._declined = told.error.message
            await self._ask_its_own(place, raw, units, rows[~told.rows], said)
        elif told.error is not None:
            self._note_failure(place, told.error)

    async def _ask_its_own(self, place: int, raw: Floats, units: Units, rows: Places, said: Answers) -> None:
        """After a member has declined some rows: about those of them that routing would give it."""
        said.declined[rows, place] = True
        own = rows[await self._in_thread(partial(self._coverage.routed, place, units[rows]))]
        if 0 < len(own) < len(rows):
            await self._ask_one(place, raw, units, own, said)

    def _keep_here(self) -> None:
        """Without consent no owner is asked about any row, also none that another member leaves unanswered."""
        for worker, place in zip(self.workers, self._team.places, strict=True):
            if place == "remote" and not self._reusing.send:
                worker.failed = ConsentNeeded("no row may leave this node", hint="start it with send")

    def _choose(self, method: Method | Literal["auto"], lesson: Lesson) -> Choice:
        """The method that validates best, of all or of the one that is asked for, over those who are left."""
        places = tuple(place for place, worker in enumerate(self.workers) if worker.failed is None)
        tried = [each for each in TRIED if each != "vote" or self._team.class_names]
        names = tried if method == "auto" else [method]
        candidates: dict[str, Reuser] = {name: make(self._team, name, places, self._brief.sample) for name in names}
        return choose(candidates, lesson.units, lesson.outputs[:, list(places)], lesson.target, task_of(self._team))

    def _close_failed(self, said: Answers) -> None:
        for place, worker in enumerate(self.workers):
            if worker.failed is not None:
                said.closed[~said.answered[:, place], place] = True

    def _note_failure(self, place: int, error: AtollError) -> None:
        member, worker = self._team.members[place], self.workers[place]
        if place not in self._noted:
            self._noted.add(place)
            self._reusing.emit("member_failed", MemberFailed(member.id, member.owner, error.message, worker.answered))

    def _require_somebody(self) -> None:
        failures = [worker.failed for worker in self.workers if worker.failed is not None]
        if len(failures) < len(self.workers):
            return
        if len(failures) == 1:
            raise failures[0]
        told = "; ".join(dict.fromkeys(error.message for error in failures))
        raise PolicyDenied(f"no member is left that answers: {told[:500]}", hint="search again")

    def _require_answers(self) -> None:
        if not any(worker.answered for worker in self.workers) and (words := self._declined):
            raise OffSpecification(words, hint="search with exactly these rows, and take what is found for them")

    def _aligned(self, place: int, values: Floats) -> Floats:
        own = self._team.members[place].listing.class_names
        return spread(values, own, self._team.class_names) if self._team.class_names else values

    def _fetched(self, learnware_id: str) -> Callable[[int, int], None]:
        return lambda done, size: self._reusing.emit("download", Downloading(learnware_id, done, size))

    def _tell_progress(self) -> None:
        done = sum(worker.answered for worker in self.workers)
        if (done - self._told) * STEPS >= self._total:
            self._told = done
            self._reusing.emit("progress", Progress(done, max(done, self._total)))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _create(path: Path, rows: int, width: int) -> None:
    np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=(rows, width))


def _write(path: Path, places: Places, values: Floats) -> None:
    np.lib.format.open_memmap(path, mode="r+")[places] = values
