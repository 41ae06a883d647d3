"""The queue: packages are judged in the order they came, two at a time, so that a model that hangs holds up nobody."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
from atoll.engine.encoding import pack, unpack
from atoll.engine.errors import AtollError
from atoll.engine.packages import Manifest, open_package
from atoll.engine.packages.acceptance import AcceptanceReport, Step, refused
from atoll.engine.packages.duplicates import Known
from atoll.engine.packages.revise import only_words_differ
from atoll.engine.runtime import ModelPool
from atoll.node.acceptance.judge import judge
from atoll.node.acceptance.submissions import LabelledRows, SubmissionRow, Submissions
from atoll.node.acceptance.uploads import Uploads
from atoll.node.errors import RequestInvalid
from atoll.node.store.catalogue import Catalogue
from atoll.node.store.dock import Dock, Learnware

log = logging.getLogger("atoll.acceptance")
WORKERS = 2
WAITING = 32  # submissions at a time
ONLY_WORDS = AcceptanceReport(
    True, (Step("revision", "passed", "only words and tags are others: the rest was checked before", 0),)
)
SPARED = 3600.0  # seconds after which an environment, or unpacked files, that no learnware needs are deleted
MAX_LABELLED = 32 << 20  # bytes of a sample


class AcceptanceQueue:
    """Lives in the asyncio loop; packages are judged in worker threads. ``clock`` gives ms; ``permitted``
    raises for a revision that the policies in force do not fit, and ``revised(learnware_id)`` is called after one has
    been taken in."""

    def __init__(
        self, submissions: Submissions, uploads: Uploads, dock: Dock, catalogue: Catalogue,
        models: ModelPool, owner: str, clock: Callable[[], int], permitted: Callable[[Manifest], None],
        revised: Callable[[bytes], Awaitable[None]],
    ) -> None:  # fmt: skip
        self.uploads = uploads
        self._submissions = submissions
        self._dock = dock
        self._catalogue = catalogue
        self._models = models
        self._owner = owner
        self._clock = clock
        self._permitted = permitted
        self._revised = revised
        self._listeners: list[Callable[[SubmissionRow], None]] = []
        self._taken: set[bytes] = set()
        self._steps: dict[bytes, list[Step]] = {}
        self._news = asyncio.Event()

    def on_decided(self, listener: Callable[[SubmissionRow], None]) -> None:
        """Call ``listener`` with every submission that is accepted or refused."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Until cancelled. What was being judged when the node ended is judged again."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self._work())

    async def submit(self, digest: bytes, by: str, labelled: LabelledRows | None = None) -> SubmissionRow:
        """Queue what was uploaded; RequestInvalid if too many are waiting, IntegrityError if it is not whole."""
        if sum(row.open for row in self._submissions.all()) >= WAITING:
            raise RequestInvalid(f"{WAITING} packages are waiting already", hint="try again when some are decided")
        id_ = secrets.token_bytes(8)
        sample = b"" if labelled is None else await asyncio.to_thread(pack, labelled)
        if len(sample) > MAX_LABELLED:
            raise RequestInvalid(f"a sample of more than {MAX_LABELLED >> 20} MiB", hint="fewer rows will do")
        await asyncio.to_thread(self.uploads.finish, digest, id_)
        if labelled is not None:
            await asyncio.to_thread(self.uploads.labelled(id_).write_bytes, sample)
        row = SubmissionRow(id_, digest, by, self._clock(), labelled=labelled is not None)
        await self._put(row)
        return row

    async def decided(self, id_: bytes, seconds: float) -> SubmissionRow:
        """The submission once it is decided, or as it is after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for _ in self.following(id_):
                    pass
        return self._submissions.get(id_)

    async def following(self, id_: bytes) -> AsyncIterator[tuple[SubmissionRow, tuple[Step, ...]]]:
        """The submission and the checks that it has gone through, now and whenever either changes, until it is decided;
        NotFound."""
        seen: object = None
        while True:
            stands = self._stands(id_)
            if stands == seen:
                await self._news.wait()
                continue
            seen = stands
            yield stands
            if not stands[0].open:
                return

    def _stands(self, id_: bytes) -> tuple[SubmissionRow, tuple[Step, ...]]:
        row = self._submissions.get(id_)
        return row, (row.report.steps if row.report is not None else tuple(self._steps.get(id_, ())))

    def get(self, id_: bytes) -> SubmissionRow:
        """NotFound if it is not known (any more)."""
        return self._submissions.get(id_)

    def steps(self, id_: bytes) -> tuple[Step, ...]:
        """The checks that a submission has gone through so far."""
        return self._stands(id_)[1]

    def all(self) -> list[SubmissionRow]:
        """The newest first."""
        return self._submissions.all()

    async def _work(self) -> None:
        while True:
            row = self._next()
            if row is None:
                await self._news.wait()
                continue
            self._taken.add(row.id)
            try:
                await self._decide(row)
            finally:
                self._taken.discard(row.id)

    def _next(self) -> SubmissionRow | None:
        waiting = [row for row in self._submissions.all() if row.open and row.id not in self._taken]
        return min(waiting, key=lambda row: row.key, default=None)

    async def _decide(self, row: SubmissionRow) -> None:
        running = msgspec.structs.replace(row, state="running")
        before = {each.id: each.row.revision for each in self._dock.all()}
        await self._put(running)
        loop = asyncio.get_running_loop()
        steps = self._steps[row.id] = []

        def told(step: Step) -> None:
            steps.append(step)
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._wake)

        try:
            report, learnware_id = await asyncio.to_thread(self._judged, row, told)
        except Exception as error:  # the outermost edge of a check: the next package has to come to its turn
            log.exception("a package could not be judged", exc_info=error)
            report, learnware_id = refused(AtollError("an unexpected error; the node's log says more")), b""
        state = "accepted" if learnware_id else "refused"
        decided = msgspec.structs.replace(
            running, state=state, report=report, learnware_id=learnware_id, decided_at=self._clock()
        )
        await asyncio.to_thread(self._submissions.put, decided, partial(self.uploads.forget, row.id))
        for listener in self._listeners:
            listener(decided)
        del self._steps[row.id]
        await asyncio.to_thread(lambda: self._models.keep_folders(self._dock.folders(), SPARED))
        if learnware_id in before:
            await self._revise(learnware_id, before[learnware_id])
        self._wake()

    async def _revise(self, learnware_id: bytes, before: bytes) -> None:
        """What was accepted is in the dock, whatever becomes of its listings."""
        try:
            if self._dock.get(learnware_id).row.revision != before:
                await self._revised(learnware_id)
        except AtollError as error:
            log.warning("a revision is not listed yet, list it with its policy: %s", error.code)

    def _judged(self, row: SubmissionRow, told: Callable[[Step], None]) -> tuple[AcceptanceReport, bytes]:
        islands = {island.id: island for island in self._catalogue.islands()}
        path = self.uploads.submitted(row.id)
        labelled = None
        if row.labelled:
            labelled = unpack(self.uploads.labelled(row.id).read_bytes(), LabelledRows, limit=MAX_LABELLED)
        old = self._words_of(path)
        if old is None:
            report = judge(
                path, islands, self._models, owner=self._owner, known=self._known(), labelled=labelled, told=told
            )
            quality = report.quality[0] if report.quality else None
        else:
            report, quality = ONLY_WORDS, old.row.quality
        if not report.accepted:
            return report, b""
        try:
            with open_package(path) as package:
                self._permitted(package.manifest)
            learnware = self._dock.add(path, quality=quality)
        except AtollError as error:
            return refused(error), b""
        return report, learnware.id

    def _words_of(self, path: Path) -> Learnware | None:
        """The learnware of the dock of which this package changes nothing but the words; None if it is no such."""
        try:
            with open_package(path) as package:
                if not package.manifest.learnware_id:
                    return None
                known = self._dock.get(package.learnware_id)
                return known if only_words_differ(known.manifest, package.manifest) else None
        except AtollError:  # the checks will say what is wrong
            return None

    def _known(self) -> list[Known]:
        return [
            Known(
                each.manifest.semantic.name, each.row.model.hex(),
                {island.hex(): specification for island, specification in each.specifications.items()},
            )
            for each in self._dock.all()
        ]  # fmt: skip

    async def _put(self, row: SubmissionRow) -> None:
        await asyncio.to_thread(self._submissions.put, row)
        self._wake()

    def _wake(self) -> None:
        """Whoever waits for a submission, follows one, or judges the next, looks again."""
        self._news.set()
        self._news = asyncio.Event()
