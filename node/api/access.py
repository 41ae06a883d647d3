"""Around every request: its id, who sent it, its line in the log and its place in the figures.

The line has the template of the route, never the path: ids and words of users stay out of the log.
"""

from __future__ import annotations

import logging
import re

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.typedefs import Handler
from atoll.node import journal
from atoll.node.api.connections import SERVER, Connection, patient
from atoll.node.api.proxies import Proxies, host_name, loopback
from atoll.node.api.routing import ABOUT, NODE, About

log = logging.getLogger("atoll.http")
PROXIES: web.AppKey[Proxies] = web.AppKey("proxies")
ID_HEADER = "X-Request-ID"
GIVEN_ID = re.compile(r"[A-Za-z0-9_.-]{8,64}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NO_ROUTE, OTHER = "(none)", "OTHER"
A_YEAR = "max-age=31536000"
QUIET = ("/healthz", "/readyz", "/metrics", "/static/{name}")  # asked so often that nobody wants to read of it


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost one. What happens for the request carries its id."""
    proxies, node = request.app[PROXIES], request.app[NODE]
    proxied = proxies.trusts(request.remote)
    about = About(_id(request, proxied), proxied)
    request[ABOUT] = about
    sent = proxies.as_sent(request)
    about.secure, about.host = sent.secure, host_name(sent.host)
    if isinstance(request.protocol, Connection):
        request.protocol.heard()
    with (
        journal.binding(request_id=about.id),
        node.stopping.answering(),
        patient(request, node.config.http.read_seconds),
    ):
        return await handler(sent)


@web.middleware
async def named(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Within the one that makes errors into problems: requests under a wrong name are refused."""
    request.app[PROXIES].require_host(request, proxied=request[ABOUT].proxied)
    return await handler(request)


async def stamp(request: web.Request, response: web.StreamResponse) -> None:
    """Every answer has the id of its request, and names no versions; a browser that came by https comes back by it.
    Not to this machine, which has other servers under the same name."""
    response.headers.update(SERVER)
    about = request.get(ABOUT)
    if about is None:
        return
    response.headers[ID_HEADER] = about.id
    if about.secure and not loopback(about.host) and not about.host.endswith(".localhost"):
        response.headers["Strict-Transport-Security"] = A_YEAR


class AccessLog(AbstractAccessLogger):
    """aiohttp tells it of every request when it is answered."""

    @property
    def enabled(self) -> bool:
        """Always: the figures are kept even where no line is written."""
        return True

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        about = request.get(ABOUT)
        if about is None or not isinstance(request, web.Request):
            log.info("not HTTP, or not as it should be", extra={"status": response.status})
            return
        route, method = route_of(request), request.method if request.method in METHODS else OTHER
        request.app[NODE].metrics.http(method, route, response.status, time)
        level = logging.DEBUG if route in QUIET and response.status < 400 else logging.INFO
        fields = {
            "request_id": about.id, "method": method, "route": route, "status": response.status,
            "ms": round(time * 1000, 1), "bytes": response.body_length,
        }  # fmt: skip
        log.log(level, "answered", extra=fields | ({"token": about.token} if about.token else {}))


def route_of(request: web.Request) -> str:
    """The template of the route that answers a request, e.g. ``/learnwares/{id}``."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else NO_ROUTE


def _id(request: web.Request, proxied: bool) -> str:
    """What a trusted proxy calls it, else one of our own."""
    given = request.headers.get(ID_HEADER, "")
    return given if proxied and GIVEN_ID.fullmatch(given) else journal.new_request_id()
