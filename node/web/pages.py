"""The pages: the form, what a search has found and finds, signing in and out. Outside `/api`, for people."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web
from atoll.engine.errors import AtollError
from atoll.engine.islands import Island
from atoll.node.api import problems
from atoll.node.api.sessions import SECONDS
from atoll.node.clock import now_ms
from atoll.node.errors import RequestInvalid, Unauthorised, outcome
from atoll.node.search.query import SearchQuery, SpecificationQuery
from atoll.node.search.running import Running
from atoll.node.web import live
from atoll.node.web.form import Form, passing_folder, read_form, read_small_form
from atoll.node.web.headers import drop_cookie, guarded, set_cookie
from atoll.node.web.overlay import overlay
from atoll.node.web.rendering import ASSETS, render
from atoll.node.web.visit import Visit, visit
from atoll.protocol.errors import NotFound
from atoll.protocol.listings import Listing
from atoll.protocol.policy import promised

log = logging.getLogger("atoll.web")
Page = Callable[[Visit], Awaitable[web.StreamResponse]]
A_YEAR = "public, max-age=31536000, immutable"


async def index(visit: Visit) -> web.Response:
    if visit.token is None and not visit.node.visitors.searching:
        raise web.HTTPSeeOther("/login")
    return await _search_page(visit, Form())


async def search(visit: Visit) -> web.StreamResponse:
    """Begin a search: to its page, or, for the script, where to follow it; faults beside their fields."""
    visit.check_may_search()
    async with passing_folder() as folder:
        form = await read_form(visit.request, folder, None if visit.check_header() else visit.check_form)
        specifications = await _specifications(visit, form)
    if form.errors:
        return await _faults(visit, form)
    if not (specifications or form.words or form.chosen):
        form.errors["words"] = "Say what you are looking for: words, tags, or a file."
        return await _faults(visit, form)
    query = SearchQuery(
        specifications, form.semantic, limit=form.limit, deadline_ms=visit.node.config.search.deadline_ms,
        privacy=form.privacy, user=visit.user,
    )  # fmt: skip
    running = visit.node.searcher.start(query)
    if not _scripted(visit):
        raise web.HTTPSeeOther(f"/searches/{running.id}")
    kept = await asyncio.to_thread(render, "_kept.html", visit.node, kept=running)
    return web.json_response({"page": f"/searches/{running.id}", "kept": kept})


async def show(visit: Visit) -> web.Response:
    """The answer as it is by now, as soon as there is one."""
    running = _running(visit)
    result = await running.answer()
    html = await asyncio.to_thread(live.results, visit.node, running, result, visit.request.query.getall("show", []))
    return await _search_page(visit, Form.of(running.query), running, results=html, final=result.final)


async def events(visit: Visit) -> web.StreamResponse:
    """The search as it goes, as server-sent events with parts of the page in them."""
    running = _running(visit)
    last = visit.request.headers.get("Last-Event-ID", "0").strip()
    if not (last.isascii() and last.isdigit() and len(last) < 10):
        raise RequestInvalid("Last-Event-ID is not the id of an event")
    stream = guarded(web.StreamResponse(headers={"Content-Type": "text/event-stream"}))
    try:
        await stream.prepare(visit.request)
        try:
            async for event, part in live.parts(visit.node, running, int(last)):
                name = "end" if event.event == "end" else "part"
                await stream.write(b"id: %d\nevent: %s\ndata: %s\n\n" % (event.id, name.encode(), _json(part)))
        except AtollError as error:
            await stream.write(b"event: broken\ndata: %s\n\n" % _json(live.Part(error.message)))
        await stream.write_eof()
    except ConnectionError:  # the search goes on, and can be followed again
        log.debug("whoever followed the search %s has gone", running.id)
    return stream


async def picture(visit: Visit) -> web.Response:
    """The picture alone, with the hits that were chosen."""
    running = _running(visit)
    result, wanted = await running.answer(), visit.request.query.getall("show", [])
    drawn = await asyncio.to_thread(overlay, running, result, wanted)
    html = await asyncio.to_thread(render, "_picture.html", visit.node, picture=drawn, search=running.id)
    return web.Response(text=html, content_type="text/html")


async def listing(visit: Visit) -> web.Response:
    """What the owner of a hit has signed, to be verified anywhere, offline."""
    running, wanted = _running(visit), visit.request.match_info["hit"]
    hit = next((hit for hit in (await running.answer()).hits if f"{hit.learnware_id}.{hit.owner}" == wanted), None)
    if hit is None or hit.record is None:
        raise NotFound("this search has no such listing", hint="search again")
    signed = {"learnware_id": hit.learnware_id, "owner": hit.owner, "federation": hit.federation, "record": hit.record}
    name = f'attachment; filename="{hit.learnware_id[:16]}.listing.json"'
    headers = {"Content-Disposition": name}
    return web.Response(body=_json(signed), content_type="application/json", headers=headers)


async def sign_in_form(visit: Visit) -> web.Response:
    if visit.token is not None:
        raise web.HTTPSeeOther("/")
    return await _html(visit, "login.html", error="")


async def sign_in(visit: Visit) -> web.Response:
    sessions = visit.node.sessions
    try:
        visit.node.visitors.sign_in(visit.request, time.monotonic())
        fields = await read_small_form(visit.request)
        visit.check_form(fields.get("csrf", ""))
        id_ = await asyncio.to_thread(sessions.open, fields.get("token", "").strip(), now_ms())
    except AtollError as error:
        return await _html(visit, "login.html", error.code, error=_sentence(error))
    response = web.HTTPSeeOther("/")
    set_cookie(visit.request, response, sessions.cookie, id_, SECONDS)
    raise response


async def sign_out(visit: Visit) -> web.Response:
    visit.check_form((await read_small_form(visit.request)).get("csrf", ""))
    visit.node.sessions.close(visit.id)
    response = web.HTTPSeeOther("/")
    drop_cookie(response, visit.node.sessions.cookie)
    raise response


async def static(request: web.Request) -> web.Response:
    asset = ASSETS.get(request.match_info["name"])
    if asset is None:
        raise web.HTTPNotFound
    fresh = request.query.get("v") == asset.version
    headers = {"Cache-Control": A_YEAR if fresh else "no-cache"}
    return guarded(web.Response(body=asset.data, content_type=asset.type, charset="utf-8", headers=headers))


def mount(app: web.Application) -> None:
    """Add the pages to the node's application."""
    for method, path, page in PAGES:
        app.router.add_route(method, path, _handler(page))
    app.router.add_get("/static/{name}", static)


PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", "/", index),
    ("POST", "/search", search),
    ("GET", "/searches/{id}", show),
    ("GET", "/searches/{id}/events", events),
    ("GET", "/searches/{id}/picture", picture),
    ("GET", "/searches/{id}/listings/{hit}", listing),
    ("GET", "/login", sign_in_form),
    ("POST", "/login", sign_in),
    ("POST", "/logout", sign_out),
)


def _handler(page: Page) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        looking = await visit(request)
        try:
            try:
                response = await page(looking)
            except AtollError as error:
                response = await _refused(looking, error)
            except web.HTTPException:
                raise
            except Exception as error:  # the outermost edge of a page
                log.exception("page failed: %s %s", request.method, request.path, exc_info=error)
                response = await _refused(looking, AtollError("an unexpected error; the node's log says more"))
        except web.HTTPSeeOther as redirect:
            looking.mark(redirect)
            guarded(redirect)
            raise
        if not response.prepared:
            looking.mark(response)
            guarded(response)
        return response

    return handle


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
        islands = [each for each in await asyncio.to_thread(_islands, visit) if form.island in ("", each.id)]
        return await node.fitting.specifications(form.file, islands, impute=form.impute)
    except AtollError as error:
        form.errors["file"] = _sentence(error)
        return ()


def _listings(visit: Visit) -> list[Listing]:
    """Those that this visitor may find."""
    return [each for each in visit.node.catalogue.alive(now_ms()) if "match" in promised(each.offers, visit.user)]


def _islands(visit: Visit) -> list[Island]:
    """Those known here, most used first; for somebody unknown, those in which there is something for them."""
    counts = Counter(spec.island for each in _listings(visit) for spec in each.specifications)
    known = visit.node.catalogue.islands()
    return sorted(
        (each for each in known if visit.token is not None or counts[each.digest]),
        key=lambda island: (-counts[island.digest], island.id),
    )


async def _faults(visit: Visit, form: Form) -> web.Response:
    if _scripted(visit):
        return web.json_response({"errors": form.errors}, status=422)
    return await _search_page(visit, form, status=422)


async def _search_page(
    visit: Visit, form: Form, running: Running | None = None, *, results: str = "", final: bool = True,
    status: int = 200,
) -> web.Response:  # fmt: skip
    await visit.node.fitting.prepare()
    islands, found = await asyncio.to_thread(_islands, visit), await asyncio.to_thread(_listings, visit)
    facts = {"learnwares": len({each.learnware_id for each in found}), "owners": len({each.owner for each in found})}
    response = await _html(
        visit, "search.html", form=form, kept=running, results=results, final=final, islands=islands, facts=facts
    )
    response.set_status(status)
    return response


async def _refused(visit: Visit, error: AtollError) -> web.Response:
    """A page, or for the script a sentence, in the words of the error; to sign in where that is what is missing."""
    status = outcome(error.code).status
    if _scripted(visit):
        return web.json_response({"errors": {"form": _sentence(error)}}, status=status)
    if isinstance(error, Unauthorised) and status == 401 and visit.request.method == "GET":
        raise web.HTTPSeeOther("/login")
    response = await _html(visit, "error.html", error.code, error=_sentence(error))
    if status == 429:
        response.headers["Retry-After"] = problems.RETRY_SECONDS
    return response


async def _html(visit: Visit, template: str, code: str = "", **values: Any) -> web.Response:
    """A whole page, with the status of an error's ``code``."""
    html = await asyncio.to_thread(render, template, visit.node, visit=visit, **values)
    return web.Response(text=html, status=outcome(code).status if code else 200, content_type="text/html")


def _scripted(visit: Visit) -> bool:
    """Whether the page's script asks, which takes JSON."""
    return "application/json" in visit.request.headers.get("Accept", "")


def _sentence(error: AtollError) -> str:
    text = error.message[:1].upper() + error.message[1:]
    return f"{text}. {error.hint[:1].upper()}{error.hint[1:]}." if error.hint else f"{text}."


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)
