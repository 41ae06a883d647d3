"""The aiohttp application of a node, and serving it."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web
from atoll.node.api import (
    access,
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
from atoll.node.api.connections import Connection
from atoll.node.api.proxies import Proxies
from atoll.node.api.routing import NODE, TOKEN, Route
from atoll.node.errors import AddressTaken
from atoll.node.web import routes

if TYPE_CHECKING:
    from atoll.node.app import Node


SHUTDOWN_SECONDS = 2.0  # for what is still answered when the node closes


async def describe(node: Node, request: web.Request) -> web.Response:
    return web.Response(body=await asyncio.to_thread(_description), content_type="application/json")


@cache
def _description() -> bytes:
    return msgspec.json.encode(openapi.document(ROUTES))


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
    Route("GET", "/api/v1/openapi.json", describe, None, "This description", result=dict[str, Any]),
)


def application(node: Node) -> web.Application:
    middlewares = [access.middleware, problems.middleware, access.named, routes.nowhere]
    app = web.Application(middlewares=middlewares, client_max_size=64 * 1024 * 1024)
    app[NODE] = node
    app[access.PROXIES] = Proxies(node.config.http)
    app.on_response_prepare.append(access.stamp)
    app[downloading.PLACES] = asyncio.Semaphore(downloading.AT_ONCE)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _handler(route))
    routes.mount(app)
    return app


@asynccontextmanager
async def serving(node: Node, reload: asyncio.Event | None = None) -> AsyncIterator[str]:
    """Serve HTTP, with TLS where the configuration has a certificate; yields the URL. AddressTaken names the port and
    what to do, ConfigError what is wrong with the certificate, which is read anew when ``reload`` is set."""
    tls = node.tls
    runner = web.AppRunner(application(node), shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        listening = await _listen(node, runner)
        watching = asyncio.create_task(tls.watch(reload or asyncio.Event())) if tls is not None else None
        try:
            host, port = listening.sockets[0].getsockname()[:2]
            yield f"{'http' if tls is None else 'https'}://{f'[{host}]' if ':' in host else host}:{port}"
        finally:
            if watching is not None:
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching
            listening.close()
    finally:
        await runner.cleanup()


async def _listen(node: Node, runner: web.AppRunner) -> asyncio.Server:
    server, http, room = runner.server, node.config.http, node.room
    assert server is not None
    loop = asyncio.get_running_loop()
    settings = {"loop": loop, "access_log_class": access.AccessLog, "access_log": access.log}
    context = None if node.tls is None else node.tls.context
    try:
        return await loop.create_server(
            lambda: Connection(server, room, http.read_seconds, **settings), http.host, http.port, ssl=context,
            ssl_handshake_timeout=None if context is None else http.read_seconds,
        )  # fmt: skip
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise AddressTaken(
            f"{http.host}:{http.port} is in use", hint="set http.port in atoll.toml, or stop the other process"
        ) from None


def _handler(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        if request.method not in auth.HARMLESS:
            request.app[NODE].stopping.require_going_on()
        if route.scope is None:
            request.app[NODE].limits.count(request, None)
            return await route.handler(request.app[NODE], request)
        token = await auth.require(request, route.scope, anonymous=route.anonymous)
        if token is not None:
            request[TOKEN] = token
        if token is None or route.act is None:
            return await route.handler(request.app[NODE], request)
        return await acts.perform(route, route.act, token, request)

    return enveloped(handle) if route.enveloped else handle
