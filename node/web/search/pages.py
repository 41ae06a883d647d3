"""The pages of a search: the form, what was found, what is being found, the picture, the signed listings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec
from aiohttp import web
from atoll.engine.errors import AtollError
from atoll.engine.islands import Island
from atoll.node.api.islands import by_use
from atoll.node.api.streaming import last_event
from atoll.node.clock import now_ms
from atoll.node.language import gettext
from atoll.node.search.query import SearchQuery, SearchResult, SpecificationQuery
from atoll.node.search.running import Running
from atoll.node.web.answers import faulty, html, scripted, sentence
from atoll.node.web.following import Told, followed
from atoll.node.web.page import Page
from atoll.node.web.parts import passing_folder, read_parts
from atoll.node.web.rendering import render
from atoll.node.web.search import live
from atoll.node.web.search.form import FILES, Form
from atoll.node.web.search.overlay import chosen, overlay
from atoll.node.web.visit import Visit
from atoll.protocol.errors import NotFound
from atoll.protocol.listings import Listing
from atoll.protocol.policy import promised


async def index(visit: Visit) -> web.Response:
    if visit.token is None and not visit.node.visitors.searching:
        raise web.HTTPSeeOther("/login")
    return await _search_page(visit, Form())


async def search(visit: Visit) -> web.StreamResponse:
    """Begin a search: to its page, or, for the script, where to follow it; faults beside their fields."""
    visit.check_may_search()
    check = None if visit.check_header() else visit.check_form
    with visit.node.fitting.room(known=visit.token is not None) as begin:
        async with passing_folder() as folder:
            form = Form.read(await read_parts(visit.request, folder, check, begin, {"file": FILES}))
            specifications = await _specifications(visit, form)
    if form.errors:
        return await _faults(visit, form)
    if not (specifications or form.words or form.chosen):
        form.errors["words"] = gettext("Say what you are looking for: words, tags, or a file.")
        return await _faults(visit, form)
    query = SearchQuery(
        specifications, form.semantic, limit=form.limit, deadline_ms=visit.node.config.search.deadline_ms,
        privacy=form.privacy, user=visit.user,
    )  # fmt: skip
    running = visit.node.searcher.start(query)
    if not scripted(visit):
        raise web.HTTPSeeOther(f"/searches/{running.id}#results")
    kept = await asyncio.to_thread(render, "search/_kept.html", visit.node, kept=running)
    return web.json_response({"page": f"/searches/{running.id}", "kept": kept})


async def show(visit: Visit) -> web.Response:
    """The answer as it is by now, as soon as there is one."""
    running = _running(visit)
    result = await running.answer()
    found = await asyncio.to_thread(live.results, visit.node, running, result, visit.request.query.getall("show", []))
    return await _search_page(visit, Form.of(running.query), running, results=found, final=result.final)


async def events(visit: Visit) -> web.StreamResponse:
    """The search as it goes, as server-sent events with parts of the page in them."""
    running = _running(visit)
    after = last_event(visit.request)

    async def told() -> AsyncIterator[Told]:
        async for event, part in live.parts(visit.node, running, after):
            yield Told(part, event.event == "end", event.id)

    return await followed(visit, told())


async def picture(visit: Visit) -> web.Response:
    """The picture alone, with the hits that were chosen."""
    running = _running(visit)
    result, wanted = await running.answer(), visit.request.query.getall("show", [])
    drawn = await asyncio.to_thread(overlay, running, result, wanted)
    part = await asyncio.to_thread(render, "search/_picture.html", visit.node, picture=drawn, search=running.id)
    return web.Response(text=part, content_type="text/html")


async def answer(visit: Visit) -> web.Response:
    """The whole answer as a file, which `atoll verify` checks offline."""
    running = _running(visit)
    return _file(await running.answer(), f"search-{running.id}")


async def listing(visit: Visit) -> web.Response:
    """One hit with what its owner has signed, as such a file."""
    running, wanted = _running(visit), visit.request.match_info["hit"]
    result = await running.answer()
    hit = next((hit for hit in result.hits if chosen(hit) == wanted), None)
    if hit is None:
        raise NotFound("this search has no such hit", hint="search again")
    return _file(msgspec.structs.replace(result, hits=(hit,), mixture=None), f"learnware-{hit.learnware_id[:16]}")


def _file(result: SearchResult, name: str) -> web.Response:
    body = msgspec.json.format(msgspec.json.encode(result), indent=1)
    headers = {"Content-Disposition": f'attachment; filename="{name}.json"'}
    return web.Response(body=body, content_type="application/json", headers=headers)


def _running(visit: Visit) -> Running:
    visit.check_may_look()
    return visit.node.searcher.running(visit.request.match_info["id"], visit.user)


async def _specifications(visit: Visit, form: Form) -> tuple[SpecificationQuery, ...]:
    """By the file, or those of the search that is refined; what is wrong with either is a fault of its field."""
    if form.errors or not (form.file or form.same):
        return ()
    node = visit.node
    try:
        if form.file is None:
            return node.searcher.running(form.same, visit.user).query.specifications
        known = await asyncio.to_thread(lambda: _islands(visit, _listings(visit)))
        islands = [each for each in known if form.island in ("", each.id)]
        return await node.fitting.specifications(form.file, islands, impute=form.impute)
    except AtollError as error:
        form.errors["file"] = sentence(error)
        return ()


def _listings(visit: Visit) -> list[Listing]:
    """Those that this visitor may find."""
    return [each for each in visit.node.catalogue.alive(now_ms()) if "match" in promised(each.offers, visit.user)]


def _islands(visit: Visit, listings: Sequence[Listing]) -> list[Island]:
    """Those known here, most used first; for somebody unknown, those in which there is something for them."""
    return [each for each, used in by_use(visit.node, listings).items() if used or visit.token is not None]


async def _faults(visit: Visit, form: Form) -> web.Response:
    if scripted(visit):
        return faulty(form.errors)
    return await _search_page(visit, form, status=422)


async def _search_page(
    visit: Visit, form: Form, running: Running | None = None, *, results: str = "", final: bool = True,
    status: int = 200,
) -> web.Response:  # fmt: skip
    await visit.node.fitting.prepare()
    found = await asyncio.to_thread(_listings, visit)
    islands = await asyncio.to_thread(_islands, visit, found)
    facts = {"learnwares": len({each.learnware_id for each in found}), "owners": len({each.owner for each in found})}
    return await html(
        visit, "search/search.html", status=status, form=form, kept=running, results=results, final=final,
        islands=islands, facts=facts,
    )  # fmt: skip


PAGES = (
    Page("GET", "/", index),
    Page("POST", "/search", search),
    Page("GET", "/searches/{id}", show),
    Page("GET", "/searches/{id}/events", events),
    Page("GET", "/searches/{id}/picture", picture),
    Page("GET", "/searches/{id}/answer", answer),
    Page("GET", "/searches/{id}/listings/{hit}", listing),
)
