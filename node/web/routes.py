"""Where the pages are, in the node's application: outside `/api`, for people."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Handler
from atoll.engine.errors import AtollError
from atoll.node import language
from atoll.node.api.problems import BROKEN_OFF
from atoll.node.api.routing import ABOUT, NODE
from atoll.node.errors import RequestInvalid
from atoll.node.web import door
from atoll.node.web.admin import pages as admin
from atoll.node.web.answers import refused
from atoll.node.web.dock import pages as dock
from atoll.node.web.docs import pages as docs
from atoll.node.web.federations import pages as federations
from atoll.node.web.headers import guarded
from atoll.node.web.learnwares import pages as learnwares
from atoll.node.web.network import pages as network
from atoll.node.web.page import Page
from atoll.node.web.predict import planning, reuses
from atoll.node.web.publish import pages as publish
from atoll.node.web.rendering import ASSETS
from atoll.node.web.search import pages as search
from atoll.node.web.visit import Visit, visit
from atoll.node.web.welcome import pages as welcome
from atoll.protocol.errors import NotFound

log = logging.getLogger("atoll.web")
PROGRAMS = ("/api/", "/beimingwu/", "/static/")  # where no pages are
A_YEAR = "public, max-age=31536000, immutable"

PAGES: tuple[Page, ...] = (
    *search.PAGES,
    *planning.PAGES,
    *reuses.PAGES,
    *learnwares.PAGES,
    *dock.PAGES,
    *publish.PAGES,
    *network.PAGES,
    *federations.PAGES,
    *admin.PAGES,
    *welcome.PAGES,
    *docs.PAGES,
    *door.PAGES,
)


def mount(app: web.Application) -> None:
    """Add the pages to the node's application."""
    learnwares.prepare(app)
    for page in PAGES:
        app.router.add_route(page.method, page.path, _handler(page))
    app.router.add_get("/static/{name}", static)


async def static(request: web.Request) -> web.Response:
    request.app[NODE].limits.count(request, None)
    asset = ASSETS.get(request.match_info["name"])
    if asset is None:
        raise web.HTTPNotFound
    fresh = request.query.get("v") == asset.version
    headers = {"Cache-Control": A_YEAR if fresh else "no-cache"}
    return guarded(web.Response(body=asset.data, content_type=asset.type, charset="utf-8", headers=headers))


@web.middleware
async def nowhere(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whoever looks with a browser where nothing is sees a page that says so; programs are told as elsewhere.
    It counts as a request of the address, before anything else is done for it."""
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        if not request[ABOUT].caller:  # no route has counted it
            request.app[NODE].limits.count(request, None)
        if "text/html" not in request.headers.get("Accept", "") or request.path.startswith(PROGRAMS):
            raise
        looking = await visit(request)
        with language.speaking(looking.language):
            response = await refused(looking, NotFound("there is no page under this address"))
        response.set_status(error.status)
        looking.mark(response)
        return guarded(response)


def _handler(page: Page) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        looking = await visit(request)
        try:
            with language.speaking(looking.language):
                response = await _answer(page, looking)
        except web.HTTPSeeOther as redirect:
            looking.mark(redirect)
            guarded(redirect)
            raise
        if not response.prepared:
            looking.mark(response)
            guarded(response)
        return response

    return handle


async def _answer(page: Page, looking: Visit) -> web.StreamResponse:
    try:
        if page.method != "GET":
            looking.node.stopping.require_going_on()
        looking.node.limits.count(looking.request, looking.token)
        if page.scope is not None:
            looking.check_may(page.scope)
        return await page.handler(looking)
    except AtollError as error:
        return await refused(looking, error)
    except web.HTTPException:
        raise
    except BROKEN_OFF:
        return await refused(looking, RequestInvalid("the request broke off", hint="send it again"))
    except Exception as error:  # the outermost edge of a page
        log.exception("a page has failed", exc_info=error, extra={"route": page.path})
        return await refused(looking, AtollError("an unexpected error; the node's log says more"))
