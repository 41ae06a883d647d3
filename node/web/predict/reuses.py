"""The pages of a reuse: its plan, to which the user says yes or no, what is being done, what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from atoll.engine.errors import AtollError
from atoll.node.api.files import sent
from atoll.node.api.streaming import last_event
from atoll.node.errors import ConsentNeeded, RequestInvalid
from atoll.node.language import gettext
from atoll.node.reuse import report
from atoll.node.reuse.result import ReuseReport
from atoll.node.reuse.written import csv_file
from atoll.node.web.answers import html, sentence
from atoll.node.web.following import Told, followed
from atoll.node.web.headers import HEADERS
from atoll.node.web.page import Page
from atoll.node.web.predict import following
from atoll.node.web.predict.following import Doing, asked
from atoll.node.web.visit import Visit

if TYPE_CHECKING:
    from atoll.node.reuse.running import Reusing


async def show(visit: Visit) -> web.Response:
    """The plan, how far it is carried out, or the report."""
    return await _page(visit, _reusing(visit))


async def start(visit: Visit) -> web.Response:
    """Carry the plan out, if rows may leave where they have to."""
    reusing, fields = await _act(visit)
    send = bool(fields.get("send"))
    try:
        async with visit.noting("reuse.start", id=reusing.id, send="yes" if send else "no"):
            visit.node.reuser.start(reusing.id, visit.user, send=send)
    except ConsentNeeded as error:
        unsent = gettext("Tick this if these rows may leave this node, or let only what runs here predict.")
        return await _page(visit, reusing, {"send": unsent}, error.code)
    raise web.HTTPSeeOther(f"/reuses/{reusing.id}")


async def only_here(visit: Visit) -> web.Response:
    """Another plan for the same rows, in which none of them leaves this node."""
    reusing, _ = await _act(visit)
    query = msgspec.structs.replace(reusing.query, local_only=True)
    try:
        async with visit.noting("reuse.plan", search_id=query.search_id):
            again = await visit.node.reuser.plan(query, reusing.brief.rows, reusing.brief.labelled)
    except AtollError as error:
        return await _page(visit, reusing, {"here": sentence(error)}, error.code)
    raise web.HTTPSeeOther(f"/reuses/{again.id}")


async def forget(visit: Visit) -> web.Response:
    """Delete rows and predictions, and end what is under way."""
    reusing, _ = await _act(visit)
    async with visit.noting("reuse.forget", id=reusing.id):
        await visit.node.reuser.forget(reusing.id, visit.user)
    raise web.HTTPSeeOther(f"/searches/{reusing.query.search_id}")


async def events(visit: Visit) -> web.StreamResponse:
    """The reuse as it goes, as server-sent events with parts of the page in them."""
    reusing, after = _reusing(visit), last_event(visit.request)

    async def told() -> AsyncIterator[Told]:
        async for event, part in following.parts(visit.node, reusing, after):
            yield Told(part, event.event == "end", event.id)

    return await followed(visit, told())


async def predictions(visit: Visit) -> web.StreamResponse:
    """As CSV."""
    reusing, told = await _done(visit)
    path = await asyncio.to_thread(csv_file, reusing.predictions, told.class_names)
    name = f"predictions-{reusing.id}.csv"
    headers = {**HEADERS, "Cache-Control": "no-store"}  # it is on its way before the page is guarded
    return await sent(visit.request, path, name, media_type="text/csv", name=name, more=headers)


async def written(visit: Visit) -> web.Response:
    """The report as a file of its own."""
    reusing, _ = await _done(visit)
    text = await asyncio.to_thread(report.page, reusing.reported, asked(visit.node))
    headers = {"Content-Disposition": f'attachment; filename="report-{reusing.id}.html"'}
    return web.Response(text=text, content_type="text/html", headers=headers)


def _reusing(visit: Visit) -> Reusing:
    visit.check_may("predict")
    return visit.node.reuser.reusing(visit.request.match_info["id"], visit.user)


async def _done(visit: Visit) -> tuple[Reusing, ReuseReport]:
    reusing = _reusing(visit)
    if reusing.state in ("planned", "running"):
        raise RequestInvalid("nothing is predicted yet", hint="see the plan, and how far it is carried out")
    return reusing, await reusing.result()


async def _act(visit: Visit) -> tuple[Reusing, dict[str, str]]:
    """Of a form that a page of ours has sent."""
    fields = await visit.fields()
    return _reusing(visit), fields


async def _page(visit: Visit, reusing: Reusing, errors: dict[str, str] | None = None, code: str = "") -> web.Response:
    done, broken = "", ""
    if reusing.state in ("done", "failed"):
        try:
            await reusing.result()
            done = await asyncio.to_thread(following.done, visit.node, reusing)
        except AtollError as error:
            broken = sentence(error)
    doing = Doing(reusing.planned).take(reusing.so_far)
    return await html(
        visit, "predict/reuse.html", code, reusing=reusing, plan=reusing.planned, doing=doing, done=done, broken=broken,
        errors=errors or {},
    )  # fmt: skip


PAGES = (
    Page("GET", "/reuses/{id}", show),
    Page("POST", "/reuses/{id}/start", start),
    Page("POST", "/reuses/{id}/here", only_here),
    Page("POST", "/reuses/{id}/forget", forget),
    Page("GET", "/reuses/{id}/events", events),
    Page("GET", "/reuses/{id}/predictions", predictions),
    Page("GET", "/reuses/{id}/report", written),
)
