"""What the node works on: packages that are checked, searches that are answered, predictions, downloads."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web
from atoll.node.acceptance.submissions import SubmissionRow
from atoll.node.clock import now_ms
from atoll.node.web.answers import html
from atoll.node.web.page import Page
from atoll.node.web.paging import paged
from atoll.node.web.visit import Visit

if TYPE_CHECKING:
    from atoll.node.app import Node

PAGE = 25


class Coming(NamedTuple):
    """A download that is under way; ``room`` is kept for it (bytes)."""

    revision: str
    name: str
    room: int


async def show(visit: Visit) -> web.Response:
    node = visit.node
    submitted = node.acceptance.all()
    rows, paging = paged(submitted, visit.request, PAGE)
    waiting = sum(row.open for row in submitted)
    tokens = {row.id: row.name for row in await asyncio.to_thread(node.tokens.all)}
    return await html(
        visit, "admin/queue.html", tab="/admin/queue", rows=rows, paging=paging, waiting=waiting, by=tokens,
        load=node.owner.desk.load, searches=node.searcher.under_way, states=node.reuser.states(),
        coming=await asyncio.to_thread(_coming, node), took=took, now=now_ms(),
    )  # fmt: skip


def took(row: SubmissionRow, now: int) -> float:
    """Seconds from its arrival until it was decided, or until now."""
    return (max(0, (row.decided_at or now) - row.submitted_at)) / 1000


def _coming(node: Node) -> list[Coming]:
    names = {each.revision: each.semantic.name for each in node.catalogue.alive(now_ms())}
    found = node.downloads.on_their_way().items()
    return [Coming(revision.hex(), names.get(revision, ""), room) for revision, room in found]


PAGES = (Page("GET", "/admin/queue", show, "admin"),)
