"""Signing in with a token and out again."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web
from atoll.engine.errors import AtollError
from atoll.node.api.sessions import SECONDS
from atoll.node.clock import now_ms
from atoll.node.web.answers import html, sentence
from atoll.node.web.headers import drop_cookie, set_cookie
from atoll.node.web.parts import read_small_form
from atoll.node.web.visit import Visit


async def sign_in_form(visit: Visit) -> web.Response:
    if visit.token is not None:
        raise web.HTTPSeeOther("/")
    return await html(visit, "login.html", error="")


async def sign_in(visit: Visit) -> web.Response:
    sessions = visit.node.sessions
    try:
        visit.node.visitors.sign_in(visit.request, time.monotonic())
        fields = await read_small_form(visit.request)
        visit.check_form(fields.get("csrf", ""))
        id_ = await asyncio.to_thread(sessions.open, fields.get("token", "").strip(), now_ms())
    except AtollError as error:
        return await html(visit, "login.html", error.code, error=sentence(error))
    response = web.HTTPSeeOther("/")
    set_cookie(visit.request, response, sessions.cookie, id_, SECONDS)
    raise response


async def sign_out(visit: Visit) -> web.Response:
    visit.check_form((await read_small_form(visit.request)).get("csrf", ""))
    visit.node.sessions.close(visit.id)
    response = web.HTTPSeeOther("/")
    drop_cookie(response, visit.node.sessions.cookie)
    raise response
