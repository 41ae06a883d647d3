"""A prediction as it goes, for the script of the page and for who loads it anew: what has happened by now.

Every event keeps the id that it has in the session, so a browser that lost the connection goes on after the last one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

from atoll.node.language import gettext
from atoll.node.reuse import report
from atoll.node.reuse.query import PlannedMember, ReusePlan
from atoll.node.reuse.result import Chosen, Downloading, MemberFailed, Progress, ReuseReport
from atoll.node.telling import Event
from atoll.node.web.following import Part
from atoll.node.web.rendering import render

if TYPE_CHECKING:
    from atoll.node.app import Node
    from atoll.node.reuse.running import Reusing

STEP = 10  # per cent after which a reader of the screen is told again


class Doing:
    """What the events of a session come to."""

    def __init__(self, plan: ReusePlan) -> None:
        self.plan = plan
        self.downloads: dict[str, Downloading] = {}
        self.progress = Progress(0, 0)
        self.failed: list[MemberFailed] = []
        self.chosen: Chosen | None = None

    def take(self, events: Iterable[Event]) -> Doing:
        for event in events:
            match event.data:
                case Downloading() as download:
                    self.downloads[download.learnware_id] = download
                case Progress() as progress:
                    self.progress = progress
                case MemberFailed() as failed:
                    self.failed.append(failed)
                case Chosen() as chosen:
                    self.chosen = chosen
        return self

    def member(self, learnware_id: str) -> PlannedMember:
        return next(each for each in self.plan.members if each.learnware_id == learnware_id)

    @property
    def coming(self) -> list[Downloading]:
        """Downloads that are not here yet."""
        return [each for each in self.downloads.values() if not each.size or each.done < each.size]

    @property
    def per_cent(self) -> int:
        return int(100 * self.progress.done / self.progress.total) if self.progress.total else 0

    @property
    def status(self) -> str:
        """In a line, which changes seldom enough to be read aloud."""
        if not self.progress.total:
            return gettext("Getting the models ready…")
        return gettext("Predicting: {share} per cent").format(share=self.per_cent - self.per_cent % STEP)


async def parts(node: Node, reusing: Reusing, after: int) -> AsyncIterator[tuple[Event, Part]]:
    """All that happens after the event with that id, until the session's end; what ended it if that was an error."""
    doing = Doing(reusing.planned)
    async for event in reusing.events(0):
        doing.take([event])
        if event.id > after:
            yield event, await asyncio.to_thread(_part, node, reusing, doing, event)


def _part(node: Node, reusing: Reusing, doing: Doing, event: Event) -> Part:
    if isinstance(event.data, ReuseReport):
        return Part(gettext("The predictions are ready."), "reuse", html=done(node, reusing))
    return Part(doing.status, "doing", html=render("predict/_doing.html", node, doing=doing))


def done(node: Node, reusing: Reusing) -> str:
    """What a session has come to; render it in a thread."""
    return render("predict/_done.html", node, id=reusing.id, body=report.body(reusing.reported, asked(node)))


def asked(node: Node) -> report.Asked:
    """What the report cannot know."""
    return report.Asked(node=node.config.node.name)
