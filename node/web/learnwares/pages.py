"""Learnwares, of this dock and of the catalogue: what they are, and how to use them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import web
from atoll.engine.errors import AtollError
from atoll.node.api.policies import AskBody
from atoll.node.language import later
from atoll.node.search.plan import Candidate
from atoll.node.search.running import Running
from atoll.node.search.single import candidate_of, question, signed
from atoll.node.web.answers import faulty, html, scripted
from atoll.node.web.learnwares import about, browsing, fetching, snippets, specified, standing, trying
from atoll.node.web.learnwares.browsing import Wanted
from atoll.node.web.learnwares.finding import OnlyHidden, Shown, find
from atoll.node.web.learnwares.kept import prepare
from atoll.node.web.markdown import markdown, plain
from atoll.node.web.page import Page
from atoll.node.web.rendering import render
from atoll.node.web.visit import Visit
from atoll.protocol.ask import MAX_WORDS
from atoll.protocol.errors import NotFound
from atoll.protocol.policy import ACTS, Act

__all__ = ["PAGES", "prepare"]

SAID = {"asked": later("Its owner's node has answered. What it said is below.")}


async def index(visit: Visit) -> web.Response:
    """All that this visitor may see, filtered and sorted, a page of it."""
    _check_may_look(visit)
    found = await asyncio.to_thread(browsing.browse, visit, Wanted.read(visit.request.query))
    return await html(visit, "learnwares/browse.html", found=found, sorts=browsing.SORTS, may_filters=browsing.MAY)


async def show(visit: Visit) -> web.Response:
    """One learnware; where federations hide it, that and why."""
    _check_may_look(visit)
    try:
        shown = await asyncio.to_thread(find, visit)
    except OnlyHidden as error:
        return await html(visit, "learnwares/hidden.html", error.code, hidden=error)
    await standing.hear(visit, shown)
    return await _page(visit, shown)


async def ask(visit: Visit) -> web.Response:
    """Ask its owner for what is on request, or only how things stand; back to where that was asked."""
    fields = await visit.fields()
    shown = await asyncio.to_thread(find, visit)
    wanted = tuple(act for act in ACTS if fields.get(act))
    before = [each for each in shown.live_listings if visit.node.asked.of(each)]
    listing = before[0] if before and not wanted else about.acting(visit, shown, wanted[0] if wanted else "predict")
    if listing is None:
        raise NotFound("it is not listed now, so its owner takes no requests")
    body = AskBody(wanted, fields.get("words", "").strip()[:MAX_WORDS])
    try:
        await standing.ask(visit, shown, listing, visit.user, body)
    except AtollError as error:
        return await _page(visit, shown, error.code, unasked=error)
    back = "/requests?said=told#others" if fields.get("back") == "requests" else f"{shown.address}&said=asked#policy"
    raise web.HTTPSeeOther(back)


async def points(visit: Visit) -> web.Response:
    """Ask its owner for the reduced set, as searches do; to the page with what it gives."""
    await visit.fields()
    _check_may_look(visit)
    visit.check_may_search()
    shown = await asyncio.to_thread(find, visit)
    listing = shown.live
    if listing is None:
        raise NotFound("it is not listed now, so its owner gives nothing of it")
    summary = next((each for each in listing.specifications if each.dp is None), None)
    if summary is None:
        raise NotFound("of a noised sketch there is nothing more exact anywhere")
    island = visit.node.catalogue.island(summary.island)
    deadline = visit.node.config.search.deadline_ms
    running = visit.node.searcher.start(question(listing, island, deadline, visit.user))
    await running.answer()
    raise web.HTTPSeeOther(f"{shown.address}&search={running.id}#specification")


async def predictions(visit: Visit) -> web.Response:
    """Predict a few rows; nothing of them is kept, so the answer is on the page that comes back."""
    shown = await asyncio.to_thread(find, visit)
    on = trying.need_ground(trying.ground(visit, shown, _allowed(visit, shown)))
    assert shown.live is not None  # there is no ground without
    tried, came = await trying.tried(visit, shown, shown.live, on)
    if scripted(visit):
        if tried.errors:
            return faulty(tried.errors)
        part = await asyncio.to_thread(render, "learnwares/_tried.html", visit.node, came=came)
        return web.json_response({"html": part})
    return await _page(visit, shown, filled=tried, came=came, status=422 if tried.errors else 200)


async def listing(visit: Visit) -> web.Response:
    """What its owner has signed, as a file that `atoll verify` checks offline."""
    _check_may_look(visit)
    shown = await asyncio.to_thread(find, visit)
    if shown.listing is None:
        raise NotFound("it is listed nowhere, so there is nothing signed")
    node, one = visit.node, shown.listing
    record = await asyncio.to_thread(node.catalogue.record, one)
    if record is None:
        raise NotFound("the signed listing is not kept any more")
    allowed = _allowed(visit, shown)
    may = tuple(act for act in ACTS if act in allowed)
    body = msgspec.json.format(msgspec.json.encode(signed(one, record, node.peers.name(shown.owner), may)), indent=1)
    headers = {"Content-Disposition": f'attachment; filename="learnware-{shown.hex[:16]}.json"'}
    return web.Response(body=body, content_type="application/json", headers=headers)


def _check_may_look(visit: Visit) -> None:
    if visit.token is None:
        visit.check_may_look()
    else:
        visit.check_may("read")


def _allowed(visit: Visit, shown: Shown) -> set[Act]:
    return {each.act for each in about.offers(visit, shown, standing.said(visit, shown)) if each.allowed}


def _searched(visit: Visit, shown: Shown) -> tuple[Running | None, Candidate | None]:
    """The visitor's search that the address names, if it is remembered, and what that knows of the learnware."""
    try:
        running = visit.node.searcher.running(visit.request.query.get("search", ""), visit.user)
    except NotFound:
        return None, None
    return running, candidate_of(running, shown.listing) if shown.listing else None


async def _page(
    visit: Visit, shown: Shown, code: str = "", *, unasked: AtollError | None = None,
    filled: trying.Trying | None = None, came: trying.Tried | None = None, status: int = 200,
) -> web.Response:  # fmt: skip
    values = await asyncio.to_thread(_values, visit, shown)
    if values["ground"] is not None:
        await visit.node.fitting.prepare()
    return await html(
        visit, "learnwares/learnware.html", code, status=status, unasked=unasked, filled=filled or trying.Trying(),
        came=came, **values,
    )  # fmt: skip


def _values(visit: Visit, shown: Shown) -> dict[str, Any]:
    """All that the page shows; some milliseconds, and with a picture more."""
    said, (running, candidate) = standing.said(visit, shown), _searched(visit, shown)
    offers = about.offers(visit, shown, said)
    allowed = {each.act for each in offers if each.allowed}
    specifications = specified.specified(visit, shown, running)
    publishes = shown.own is not None and visit.may("publish")
    taken_in = about.taken_in(visit, shown) if publishes else ()
    named = next((each.definition.names for each in specifications if each.definition is not None), ())
    may = allowed if shown.live is not None and visit.may("predict") else set[Act]()
    asking = [each.act for each in offers if each.on_request]
    return {
        "shown": shown, "semantic": shown.semantic, "description": markdown(shown.semantic.description, under=2),
        "cut": shown.manifest is None and shown.semantic.description.endswith("…"), "offers": offers, "said": said,
        "confirmed": visit.said(SAID), "specifications": specifications,
        "running": running, "candidate": candidate, "quality": about.quality(shown), "publishes": publishes,
        "taken_in": taken_in, "report": about.checks(taken_in), "used": about.used(visit, shown) if publishes else (),
        "doubts": visit.node.searcher.doubts(shown.listings[:1])[0] if shown.listings else None,
        "is_code": about.is_code(shown), "let_in": about.admitted(visit, shown), "fetch": fetching.stands(visit, shown),
        "ground": trying.ground(visit, shown, allowed) if visit.may("predict") else None, "about": about,
        "first_seen": min(map(visit.node.catalogue.first_seen, shown.listings), default=0), "max_words": MAX_WORDS,
        "snippets": snippets.snippets(
            shown.hex, shown.revision.hex(), str(visit.request.url.origin()), named, may, asking, shown.own is not None
        ),
        "allowed": allowed, "fetching_allowed": "download" in may, "most_rows": trying.MOST_ROWS,
        "days": about.DAYS, "plain": plain,
    }  # fmt: skip


PAGES = (
    Page("GET", "/learnwares", index),
    Page("GET", "/learnwares/{id}", show),
    Page("GET", "/learnwares/{id}/listing", listing),
    Page("POST", "/learnwares/{id}/points", points),
    Page("POST", "/learnwares/{id}/ask", ask, "predict"),
    Page("POST", "/learnwares/{id}/predictions", predictions, "predict"),
    Page("POST", "/learnwares/{id}/fetch", fetching.begin, "predict"),
    Page("GET", "/learnwares/{id}/fetch/events", fetching.events, "predict"),
    Page("GET", "/learnwares/{id}/package", fetching.package, "predict"),
)
