"""The aiohttp application of a node, and serving it."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web
from atoll.node.api import (
    acts,
    audit,
    auth,
    backup,
    beimingwu,
    code,
    downloads,
    federations,
    governance,
    information,
    islands,
    learnwares,
    openapi,
    peer_rules,
    peers,
    policies,
    predictions,
    privacy,
    problems,
    reuses,
    searches,
    submissions,
    tokens,
)  # fmt: skip
from atoll.node.api.beimingwu import downloading
from atoll.node.api.beimingwu.envelope import enveloped
from atoll.node.api.routing import NODE, TOKEN, Route, reply
from atoll.node.errors import AddressTaken
from atoll.node.web import routes

if TYPE_CHECKING:
    from atoll.node.app import Node


async def describe(node: Node, request: web.Request) -> web.Response:
    return reply(openapi.document(ROUTES))


ROUTES: tuple[Route, ...] = (
    *information.ROUTES,
    *learnwares.ROUTES,
    *submissions.ROUTES,
    *islands.ROUTES,
    *searches.ROUTES,
    *predictions.ROUTES,
    *downloads.ROUTES,
    *reuses.ROUTES,
    *policies.ROUTES,
    *privacy.ROUTES,
    *code.ROUTES,
    *peers.ROUTES,
    *peer_rules.ROUTES,
    *federations.ROUTES,
    *governance.ROUTES,
    *tokens.ROUTES,
    *audit.ROUTES,
    *backup.ROUTES,
    *beimingwu.ROUTES,
    Route("GET", "/api/v1/openapi.json", describe, None, "This description"),
)


def application(node: Node) -> web.Application:
    app = web.Application(middlewares=[problems.middleware], client_max_size=64 * 1024 * 1024)
    app[NODE] = node
    app[downloading.PLACES] = asyncio.Semaphore(downloading.AT_ONCE)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _handler(route))
    routes.mount(app)
    return app


@asynccontextmanager
async def serving(node: Node) -> AsyncIterator[str]:
    """Serve HTTP; yields the URL. AddressTaken names the port and what to do."""
    runner = web.AppRunner(application(node), access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    http = node.config.http
    try:
        try:
            await web.TCPSite(runner, http.host, http.port).start()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise AddressTaken(
                f"{http.host}:{http.port} is in use", hint="set http.port in atoll.toml, or stop the other process"
            ) from None
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def _handler(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        if route.scope is None:
            return await route.handler(request.app[NODE], request)
        token = await auth.require(request, route.scope, anonymous=route.anonymous)
        if token is not None:
            request[TOKEN] = token
        if token is None or route.act is None:
            return await route.handler(request.app[NODE], request)
        return await acts.perform(route, route.act, token, request)

    return enveloped(handle) if route.enveloped else handle
