"""The first visit: in three steps what a node is for, with a real example that is made here and removed again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from aiohttp import web
from atoll.engine.errors import AtollError
from atoll.node.api.islands import known_islands
from atoll.node.errors import RequestInvalid
from atoll.node.language import later
from atoll.node.search.query import SearchQuery
from atoll.node.search.running import Running
from atoll.node.web.answers import html
from atoll.node.web.following import Part, Told, followed
from atoll.node.web.page import Page
from atoll.node.web.parts import passing_folder
from atoll.node.web.predict.asking import Asking
from atoll.node.web.predict.planning import planned
from atoll.node.web.rendering import render
from atoll.node.web.visit import Visit
from atoll.node.web.welcome.example import TARGET, sample
from atoll.protocol.errors import NotFound

SAID = {
    "removed": later("The example is removed: nothing of it is listed, in the dock, or a federation of this node."),
    "kept": later("The models of the example are removed. Its federation stays, since it is used otherwise."),
}  # fmt: skip
STEPS = {
    "trained": later("Three models are trained on data that ships with scikit-learn"),
    "federation": later("The private federation “Example” is there, with this node alone in it"),
}
SAMPLES = {"sample": False, "labelled": True}


async def show(visit: Visit) -> web.Response:
    """The three steps, as far as they are done."""
    return await _page(visit)


async def make(visit: Visit) -> web.Response:
    """Step 1: have the example made."""
    await visit.fields()
    assert visit.token is not None  # the page takes a scope
    visit.node.example.order(visit.token)
    raise web.HTTPSeeOther("/welcome#dock")


async def events(visit: Visit) -> web.StreamResponse:
    """How far it is made, as server-sent events with a part of the page in them, each of which tells all of it."""
    node = visit.node

    async def told() -> AsyncIterator[Told]:
        async for stands in node.example.following():
            text = await asyncio.to_thread(render, "welcome/_making.html", node, stands=stands, says=STEPS)
            yield Told(Part("", "making", html=text), not stands.making)

    return await followed(visit, told())


async def search(visit: Visit) -> web.Response:
    """Step 2: a real search with the sample, to its page."""
    await visit.fields()
    node = visit.node
    with node.fitting.room(known=True) as begin:
        begin()
        async with passing_folder() as folder:
            file = await _written(folder, "sample")
            islands = await asyncio.to_thread(known_islands, node)
            specifications = await node.fitting.specifications(file, islands)
    query = SearchQuery(specifications, deadline_ms=node.config.search.deadline_ms, user=visit.user)
    running = node.searcher.start(query)
    node.example.searched(visit.user, running.id)
    raise web.HTTPSeeOther(f"/searches/{running.id}#results")


async def predict(visit: Visit) -> web.Response:
    """Step 3: a real plan for the sample, with labelled rows, to its page."""
    await visit.fields()
    running = _searched(visit)
    if running is None:
        raise RequestInvalid("there is no search of the sample (any more)", hint="search with it first")
    await running.answer()
    if running.session is None:
        raise NotFound("the search has found nothing to predict with", hint="make the example, then search again")
    with visit.node.fitting.room(known=True) as begin:
        begin()
        async with passing_folder() as folder:
            files = {"file": await _written(folder, "sample"), "labelled": await _written(folder, "labelled")}
            asking = Asking(target=TARGET, runs="here", files=files)
            reusing = await planned(visit, running, asking, folder)
    if reusing is None:
        return await _page(visit, errors=asking.errors)
    raise web.HTTPSeeOther(f"/reuses/{reusing.id}")


async def download(visit: Visit) -> web.Response:
    """The sample, or the labelled part of it, as a file."""
    name = visit.request.match_info["name"]
    if name not in SAMPLES:
        raise NotFound("there is no such sample")
    data = await asyncio.to_thread(sample, labelled=SAMPLES[name])
    headers = {"Content-Disposition": f'attachment; filename="digits-{name}.csv"'}
    return web.Response(body=data, content_type="text/csv", headers=headers)


async def remove(visit: Visit) -> web.Response:
    """Withdraw and remove exactly what the example made."""
    await visit.fields()
    assert visit.token is not None  # the page takes a scope
    if visit.node.example.stands.making:
        raise RequestInvalid("the example is being made", hint="wait for its end, some seconds")
    whole = await visit.node.example.remove(visit.node, visit.token)
    raise web.HTTPSeeOther(f"/welcome?said={'removed' if whole else 'kept'}")


async def _written(folder: Path, name: str) -> Path:
    path = folder / f"{name}.csv"
    await asyncio.to_thread(lambda: path.write_bytes(sample(labelled=SAMPLES[name])))
    return path


def _searched(visit: Visit) -> Running | None:
    """The visitor's last search of the sample, as long as it is remembered."""
    with suppress(AtollError):
        return visit.node.searcher.running(visit.node.example.searched(visit.user), visit.user)
    return None


async def _page(visit: Visit, errors: dict[str, str] | None = None) -> web.Response:
    node = visit.node
    made = await asyncio.to_thread(node.example.made, node)
    await node.fitting.prepare()
    running = _searched(visit)
    return await html(
        visit, "welcome/welcome.html", status=422 if errors else 200, made=made, stands=node.example.stands,
        searched=running, says=STEPS, said=visit.said(SAID),
        fault=next(iter((errors or {}).values()), ""),
        ready=len(made.learnwares) > 0 and not node.example.stands.making,
    )  # fmt: skip


PAGES: tuple[Page, ...] = (
    Page("GET", "/welcome", show, "admin"),
    Page("POST", "/welcome/make", make, "admin"),
    Page("GET", "/welcome/events", events, "admin"),
    Page("POST", "/welcome/find", search, "admin"),
    Page("POST", "/welcome/plan", predict, "admin"),
    Page("GET", "/welcome/{name}.csv", download, "admin"),
    Page("POST", "/welcome/remove", remove, "admin"),
)
