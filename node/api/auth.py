"""Who calls a route that has a scope: by bearer token, by the session of a browser, or, to search, nobody known."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web
from atoll.node.api.routing import NODE
from atoll.node.api.visitors import unknown
from atoll.node.clock import now_ms
from atoll.node.errors import Forbidden, Forged, Unauthorised
from atoll.node.store.tokens import Scope, TokenRow

FORM_HEADER = "X-CSRF-Token"
HARMLESS = ("GET", "HEAD")


async def require(request: web.Request, scope: Scope, *, anonymous: bool = False) -> TokenRow | None:
    """The token of the request, None for somebody unknown on a route that is open to them (``anonymous``).

    Unauthorised, Forbidden, Forged or TooOften otherwise.
    """
    node = request.app[NODE]
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer" and secret:
        return await _by_token(request, secret.strip(), scope)
    id_, token = await signed_in(request)
    node.limits.count(request, token)
    if token is not None:
        return _by_session(request, token, id_, scope)
    if not anonymous:
        raise unknown()
    if request.method in HARMLESS:
        node.visitors.admit()
    else:
        node.visitors.search(request, time.monotonic())
    return None


async def _by_token(request: web.Request, secret: str, scope: Scope) -> TokenRow:
    node = request.app[NODE]
    try:
        token = await asyncio.to_thread(node.tokens.check, secret, scope, now_ms())
    except Forbidden:
        node.limits.count(request, None)
        raise
    except Unauthorised:
        node.limits.wrong_token(request)
        raise
    node.limits.count(request, token)
    return token


async def signed_in(request: web.Request) -> tuple[str, TokenRow | None]:
    """The id of the browser's session, and its token if it is in force."""
    sessions = request.app[NODE].sessions
    id_ = request.cookies.get(sessions.cookie, "")
    return id_, await asyncio.to_thread(sessions.token, id_, now_ms()) if id_ else None


def _by_session(request: web.Request, token: TokenRow, id_: str, scope: Scope) -> TokenRow:
    """A browser that is signed in reads; what is more than a harmless GET must come from a page of this node."""
    if scope != "read":
        raise Forbidden("a browser that is signed in may only read and search", hint="send a token for this")
    given = request.headers.get(FORM_HEADER, "")
    if request.method not in HARMLESS and not request.app[NODE].sessions.genuine(id_, given):
        raise Forged(f"the header {FORM_HEADER} is not that of this session", hint="load the page anew")
    return token
