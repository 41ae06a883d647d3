"""Bearer tokens on every route that has a scope."""

from __future__ import annotations

import asyncio

from aiohttp import web
from atoll.node.api.routing import NODE
from atoll.node.clock import now_ms
from atoll.node.errors import Unauthorised
from atoll.node.store.tokens import Scope, TokenRow


async def require(request: web.Request, scope: Scope) -> TokenRow:
    """The token of the request; Unauthorised or Forbidden unless there is one with ``scope``."""
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not secret:
        raise Unauthorised("this needs a token", hint="send `Authorization: Bearer ...`, or pass --token")
    return await asyncio.to_thread(request.app[NODE].tokens.check, secret.strip(), scope, now_ms())
