"""Signing in: the token of this node that the user has is the one that the client goes on with."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from atoll.node.api.beimingwu.envelope import Envelope, answer
from atoll.node.api.routing import Route, read_json
from atoll.node.clock import now_ms
from atoll.node.errors import Unauthorised

if TYPE_CHECKING:
    from atoll.node.app import Node

NO_TOKEN = "no token is given"
KEPT = "this node keeps no sessions: the token stays valid until it expires or is revoked (`atoll token revoke`)"


class LoginBody(msgspec.Struct, frozen=True):
    """``token`` is one of this node with the scope "read"; uploads need "publish", downloads "predict". ``email`` is
    ignored."""

    token: str = ""
    email: str = ""


async def login(node: Node, request: web.Request) -> web.Response:
    """The same token again; an empty request is refused, which tells that somebody is here."""
    if not request.can_read_body:
        raise Unauthorised(NO_TOKEN, hint='send {"email": "", "token": ..}; tokens are made with `atoll token create`')
    body = await read_json(request, LoginBody)
    node.visitors.sign_in(request, time.monotonic())
    row = await asyncio.to_thread(node.tokens.check, body.token.strip(), "read", now_ms())
    ignored = "; the e-mail address is ignored, the token says who you are" if body.email else ""
    return answer({"token": body.token.strip(), "username": row.name}, f"signed in as {row.name}{ignored}")


async def logout(node: Node, request: web.Request) -> web.Response:
    return answer(msg=KEPT)


ROUTES = (
    Route(
        "POST", "/beimingwu/auth/login_by_token", login, None, "Sign in with a token of this node (Beimingwu's client)",
        LoginBody, result=Envelope, enveloped=True,
        optional=True,
    ),
    Route(
        "POST", "/beimingwu/auth/logout", logout, "read", "Sign out, which ends nothing here", result=Envelope,
        enveloped=True,
    ),
)  # fmt: skip
