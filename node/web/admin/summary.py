"""The node at a glance: who it is, what it has, what is under way, and what needs a hand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import atoll
from aiohttp import web
from atoll.engine.runtime import Rung, rung
from atoll.node.api.federations import FederationView, federation_view
from atoll.node.clock import now_ms
from atoll.node.store.environment import Space
from atoll.node.web.admin.attention import Concern, concerns, free_of
from atoll.node.web.answers import html
from atoll.node.web.page import Page
from atoll.node.web.visit import Visit
from atoll.protocol.policy import ACTS, Act

if TYPE_CHECKING:
    from atoll.node.app import Node


class Summary(NamedTuple):
    """``today``: how often each act was done with the learnwares of this dock since midnight UTC, rows for predict;
    ``free`` and ``whole``: bytes of the disk."""

    version: str
    concerns: list[Concern]
    rung: Rung
    memberships: list[FederationView]
    learnwares: int
    listings: int
    peers: int
    known: int
    islands: int
    today: dict[Act, int]
    space: Space
    free: int
    whole: int


async def show(visit: Visit) -> web.Response:
    node = visit.node
    under_way = {"searches": node.searcher.under_way, "reuses": node.reuser.states()["running"]}
    summary = await asyncio.to_thread(_summary, node, now_ms())
    return await html(visit, "admin/summary.html", tab="/admin", summary=summary, under_way=under_way)


def _summary(node: Node, now: int) -> Summary:
    held, space, used = rung(), node.store.space(), node.gate.usage.today(now)
    free, whole = free_of(node.home)
    return Summary(
        atoll.__version__, concerns(node, held, space, now), held,
        [federation_view(node, each) for each in node.federations.all()], len(node.dock.all()),
        len(node.catalogue.alive(now)), len(node.peers.live()), len(node.peers.all()), len(node.catalogue.islands()),
        {act: sum(each.amount for each in used if each.act == act) for act in ACTS}, space, free, whole,
    )  # fmt: skip


PAGES = (Page("GET", "/admin", show, "admin"),)
