"""Where the pages are, in the node's application: outside `/api`, for people."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from atoll.engine.errors import AtollError
from atoll.node.web import door, pages, planning, reuses
from atoll.node.web.answers import refused
from atoll.node.web.headers import guarded
from atoll.node.web.rendering import ASSETS
from atoll.node.web.visit import Visit, visit

log = logging.getLogger("atoll.web")
Page = Callable[[Visit], Awaitable[web.StreamResponse]]
A_YEAR = "public, max-age=31536000, immutable"

PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", "/", pages.index),
    ("POST", "/search", pages.search),
    ("GET", "/searches/{id}", pages.show),
    ("GET", "/searches/{id}/events", pages.events),
    ("GET", "/searches/{id}/picture", pages.picture),
    ("GET", "/searches/{id}/answer", pages.answer),
    ("GET", "/searches/{id}/listings/{hit}", pages.listing),
    ("GET", "/searches/{id}/predict", planning.ask),
    ("POST", "/searches/{id}/predict", planning.plan),
    ("GET", "/reuses/{id}", reuses.show),
    ("POST", "/reuses/{id}/start", reuses.start),
    ("POST", "/reuses/{id}/here", reuses.only_here),
    ("POST", "/reuses/{id}/forget", reuses.forget),
    ("GET", "/reuses/{id}/events", reuses.events),
    ("GET", "/reuses/{id}/predictions", reuses.predictions),
    ("GET", "/reuses/{id}/report", reuses.written),
    ("GET", "/login", door.sign_in_form),
    ("POST", "/login", door.sign_in),
    ("POST", "/logout", door.sign_out),
)


def mount(app: web.Application) -> None:
    """Add the pages to the node's application."""
    for method, path, page in PAGES:
        app.router.add_route(method, path, _handler(page))
    app.router.add_get("/static/{name}", static)


async def static(request: web.Request) -> web.Response:
    asset = ASSETS.get(request.match_info["name"])
    if asset is None:
        raise web.HTTPNotFound
    fresh = request.query.get("v") == asset.version
    headers = {"Cache-Control": A_YEAR if fresh else "no-cache"}
    return guarded(web.Response(body=asset.data, content_type=asset.type, charset="utf-8", headers=headers))


def _handler(page: Page) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        looking = await visit(request)
        try:
            try:
                response = await page(looking)
            except AtollError as error:
                response = await refused(looking, error)
            except web.HTTPException:
                raise
            except Exception as error:  # the outermost edge of a page
                log.exception("page failed: %s %s", request.method, request.path, exc_info=error)
                response = await refused(looking, AtollError("an unexpected error; the node's log says more"))
        except web.HTTPSeeOther as redirect:
            looking.mark(redirect)
            guarded(redirect)
            raise
        if not response.prepared:
            looking.mark(response)
            guarded(response)
        return response

    return handle
