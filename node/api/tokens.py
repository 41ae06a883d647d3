"""Tokens for people and programs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import msgspec
from aiohttp import web
from atoll.node.api.described import Short
from atoll.node.api.routing import Route, read_json, reply
from atoll.node.clock import now_ms
from atoll.node.store.tokens import Scope, TokenRow
from atoll.protocol import limits
from atoll.protocol.errors import NotFound

if TYPE_CHECKING:
    from atoll.node.app import Node


MAX_NAME, MAX_DAYS = 80, 36_500


class TokenBody(msgspec.Struct, frozen=True):
    """``days`` None never expires."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
    scopes: Annotated[tuple[Scope, ...], msgspec.Meta(min_length=1)]
    days: Annotated[int, msgspec.Meta(ge=1, le=MAX_DAYS)] | None = 90


class TokenView(msgspec.Struct, frozen=True):
    """The secret is shown this once."""

    secret: str
    token: TokenRow


async def index(node: Node, request: web.Request) -> web.Response:
    return reply(await asyncio.to_thread(node.tokens.all))


async def create(node: Node, request: web.Request) -> web.Response:
    return reply(await made(node, await read_json(request, TokenBody)), status=201)


async def revoke(node: Node, request: web.Request) -> web.Response:
    await revoked(node, request.match_info["id"])
    return web.Response(status=204)


async def made(node: Node, body: TokenBody) -> TokenView:
    """A new token, with its secret; after commit."""
    lifetime = body.days * limits.DAY if body.days else None
    scopes = tuple(dict.fromkeys(body.scopes))
    return TokenView(*await asyncio.to_thread(node.tokens.create, body.name, scopes, now_ms(), lifetime))


async def revoked(node: Node, id_: str) -> None:
    """End a token, and the sessions that it has opened; NotFound if there is none."""
    if not await asyncio.to_thread(node.tokens.revoke, id_):
        raise NotFound("no such token", hint="see `atoll token list`")


ROUTES = (
    Route("GET", "/api/v1/tokens", index, "admin", "Tokens, without their secrets", result=list[TokenRow]),
    Route(
        "POST", "/api/v1/tokens", create, "admin", "Make a token", TokenBody, TokenView,
        act="token.create", noted=("name", "scopes"),
        status=201,
    ),
    Route("DELETE", "/api/v1/tokens/{id}", revoke, "admin", "Revoke a token", act="token.revoke",
          ids=Short, status=204),
)  # fmt: skip
