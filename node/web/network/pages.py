"""Peers and federations, their state and lag: the page of all, and dialling another."""

from __future__ import annotations

import asyncio

from aiohttp import web
from atoll.engine.errors import AtollError
from atoll.node.api import peers
from atoll.node.errors import outcome
from atoll.node.language import later
from atoll.node.web.answers import html, sentence
from atoll.node.web.network import peer, rules
from atoll.node.web.network.live import events
from atoll.node.web.network.seeing import seen
from atoll.node.web.page import Page
from atoll.node.web.visit import Visit

SAID = {
    "dialled": later("The peer has answered and is remembered."),
    "forgotten": later("The peer is forgotten. It may come back by itself, or when others tell of it."),
}


class DialForm:
    """The address as it was typed, and what is wrong with it."""

    def __init__(self, address: str = "", fault: str = "") -> None:
        self.address = address
        self.errors = {"address": fault} if fault else {}


async def index(visit: Visit) -> web.Response:
    return await _page(visit, DialForm())


async def dial(visit: Visit) -> web.Response:
    """Dial the address of the form: to the page, or to what is wrong with it."""
    address = (await visit.fields()).get("address", "").strip()
    try:
        async with visit.noting("peer.add", address=address):
            await peers.dial(visit.node, address)
    except AtollError as error:
        return await _page(visit, DialForm(address, sentence(error)), outcome(error.code).status)
    raise web.HTTPSeeOther("/network?said=dialled#peers-title")


async def _page(visit: Visit, form: DialForm, status: int = 200) -> web.Response:
    relayed = await visit.node.network.relayed()
    query = visit.request.rel_url.raw_query_string
    return await html(
        visit, "network/network.html", status=status, form=form, said=visit.said(SAID),
        events=f"/network/events?{query}" if query else "/network/events",
        **await asyncio.to_thread(seen, visit.node, visit.request, relayed),
    )  # fmt: skip


PAGES = (
    Page("GET", "/network", index, "read"),
    Page("GET", "/network/events", events, "read"),
    Page("POST", "/network/peers", dial, "admin"),
    *peer.PAGES,
    *rules.PAGES,
)
