"""Tokens for people and programs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from atoll.node.api.routing import Route, read_json, reply
from atoll.node.clock import now_ms
from atoll.node.store.tokens import Scope, TokenRow
from atoll.protocol import limits
from atoll.protocol.errors import NotFound

if TYPE_CHECKING:
    from atoll.node.app import Node


class TokenBody(msgspec.Struct, frozen=True):
    """``days`` None never expires."""

    name: str
    scopes: tuple[Scope, ...]
    days: int | None = 90


class TokenView(msgspec.Struct, frozen=True):
    """The secret is shown this once."""

    secret: str
    token: TokenRow


async def index(node: Node, request: web.Request) -> web.Response:
    return reply(await asyncio.to_thread(node.tokens.all))


async def create(node: Node, request: web.Request) -> web.Response:
    body = await read_json(request, TokenBody)
    lifetime = body.days * limits.DAY if body.days else None
    secret, row = await asyncio.to_thread(node.tokens.create, body.name, body.scopes, now_ms(), lifetime)
    return reply(TokenView(secret, row), status=201)


async def revoke(node: Node, request: web.Request) -> web.Response:
    if not await asyncio.to_thread(node.tokens.revoke, request.match_info["id"]):
        raise NotFound("no such token")
    return web.Response(status=204)


ROUTES = (
    Route("GET", "/api/v1/tokens", index, "admin", "Tokens, without their secrets", result=list[TokenRow]),
    Route(
        "POST", "/api/v1/tokens", create, "admin", "Make a token", TokenBody, TokenView,
        act="token.create", noted=("name", "scopes"),
    ),
    Route("DELETE", "/api/v1/tokens/{id}", revoke, "admin", "Revoke a token", act="token.revoke"),
)  # fmt: skip
