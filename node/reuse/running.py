"""A reuse session: planned, then run once it is started, told as it goes, remembered until it is forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from atoll.node import language
from atoll.node.reuse.brief import Brief
from atoll.node.reuse.query import ReusePlan, ReuseQuery
from atoll.node.reuse.result import ReuseReport, State
from atoll.node.telling import Telling


class Reusing(Telling):
    """Lives in the asyncio loop. ``used`` is when somebody last looked, in seconds that only grow; ``send`` that the
    user has consented: without it no row leaves this node, whatever happens. Plan and reports are there in each
    language, by its code: a session outlives the request that has planned it."""

    def __init__(
        self, query: ReuseQuery, plans: Mapping[str, ReusePlan], brief: Brief, folder: Path, used: float
    ) -> None:  # fmt: skip
        super().__init__()
        self.plan = plans[language.DEFAULT]
        self.id = self.plan.reuse_id
        self.query = query
        self._plans = plans
        self.brief = brief
        self.folder = folder
        self.used = used
        self.send = False
        self.reports: Mapping[str, ReuseReport] = {}
        self.forgotten = False
        self.emit("plan", self.plan)

    @property
    def planned(self) -> ReusePlan:
        """The plan in the language in force."""
        return self._plans[language.current()]

    @property
    def report(self) -> ReuseReport | None:
        """In English, once it is done."""
        return self.reports.get(language.DEFAULT)

    @property
    def reported(self) -> ReuseReport:
        """The report of one that is done, in the language in force."""
        return self.reports[language.current()]

    @property
    def state(self) -> State:
        if self.task is None:
            return "planned"
        if not self.task.done():
            return "running"
        return "done" if self.report is not None else "failed"

    @property
    def ended(self) -> bool:
        return self.forgotten or super().ended

    @property
    def predictions(self) -> Path:
        """The answer, once it is done: `.npy`, float64 (n, c), NaN in rows that have none."""
        return self.folder / "predictions.npy"

    async def result(self) -> ReuseReport:
        """The report at the end; what ended it if that was an error."""
        await self.happens(lambda: self.report is not None)
        assert self.report is not None  # it ends with a report or an error
        return self.report
