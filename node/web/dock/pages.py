"""What this node hosts: its learnwares, their policies, and what others ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from aiohttp import web
from atoll.node.api.downloads import DownloadView, granted
from atoll.node.web.answers import html
from atoll.node.web.dock import acts, asking, editor, learnware, words
from atoll.node.web.dock.shelf import STANDINGS, Wanted, packages, shelf, use
from atoll.node.web.page import Page
from atoll.node.web.paging import Paging, paged
from atoll.node.web.visit import Visit

PAGE = 25
MAX_WORDS = 80


async def index(visit: Visit) -> web.Response:
    """My dock. What was served, checked and asked is for those who may publish, as on the API."""
    wanted = _wanted(visit)
    held = await asyncio.to_thread(shelf, visit.node, wanted)
    shown, paging = paged(held.items, visit.request, PAGE)
    served = await asyncio.to_thread(use, visit.node, shown) if visit.may("publish") else None
    checked, refused = packages(visit.node) if served else ([], [])
    kept = await asyncio.to_thread(_kept, visit)
    return await html(
        visit, "dock/dock.html", shelf=held, shown=shown, paging=paging, use=served, wanted=wanted, checked=checked,
        refused=refused, kept=kept, said=visit.said(words.SAID),
        waiting=visit.node.gate.requests.waiting(),
    )  # fmt: skip


def _wanted(visit: Visit) -> Wanted:
    """What the address asks for; what it says amiss chooses nothing."""
    query = visit.request.query
    standing = query.get("state", "")
    return Wanted(
        query.get("q", "").strip()[:MAX_WORDS],
        standing if standing in STANDINGS else "",
        query.get("federation", "")[:64],
        query.get("task", "")[:MAX_WORDS],
    )


class Kept(NamedTuple):
    """Packages of others that are here for this visitor: ``rows`` of one page, ``total`` of ``size`` bytes in all."""

    rows: Sequence[DownloadView]
    paging: Paging
    total: int
    size: int
    quota: int


def _kept(visit: Visit) -> Kept:
    """Blocking. As the API says to whom: with the scope predict, one's own; with admin, all."""
    token, node = visit.token, visit.node
    found = node.downloads.all() if visit.may("predict") else []
    rows = [DownloadView.of(revision, row) for revision, row in found if token is not None and granted(token, row)]
    shown, paging = paged(rows, visit.request, PAGE, "kept")
    return Kept(shown, paging, len(rows), sum(row.held for row in rows), node.config.reuse.cache_bytes)


PAGES: tuple[Page, ...] = (
    Page("GET", "/dock", index, "read"),
    *learnware.PAGES,
    *acts.PAGES,
    *editor.PAGES,
    *asking.PAGES,
)
