"""Signing in with a token and out again, and the language in which one is spoken to."""

from __future__ import annotations

import asyncio
import re
import time

from aiohttp import web
from atoll.engine.errors import AtollError
from atoll.node.api.sessions import SECONDS
from atoll.node.clock import now_ms
from atoll.node.language import LANGUAGES
from atoll.node.web.answers import html, sentence
from atoll.node.web.headers import drop_cookie, set_cookie
from atoll.node.web.page import Page
from atoll.node.web.visit import LANGUAGE_COOKIE, Visit

A_YEAR = 365 * 86_400


async def sign_in_form(visit: Visit) -> web.Response:
    wanted = _own_path(visit.request.query.get("next", ""))
    if visit.token is not None:
        raise web.HTTPSeeOther(wanted)
    return await html(visit, "shared/login.html", error="", next=wanted)


async def sign_in(visit: Visit) -> web.Response:
    """To the page that asked for it, if it was one of ours."""
    sessions, wanted = visit.node.sessions, "/"
    try:
        fields = await visit.fields()  # before it counts: a page elsewhere must not spend the attempts of an address
        visit.node.visitors.sign_in(visit.request, time.monotonic())
        wanted = _own_path(fields.get("next", ""))
        id_ = await asyncio.to_thread(sessions.open, fields.get("token", "").strip(), now_ms())
    except AtollError as error:
        return await html(visit, "shared/login.html", error.code, error=sentence(error), next=wanted)
    if visit.token is not None:
        sessions.close(visit.id)
    response = web.HTTPSeeOther(wanted)
    set_cookie(visit.request, response, sessions.cookie, id_, SECONDS)
    raise response


async def sign_out(visit: Visit) -> web.Response:
    await visit.fields()
    visit.node.sessions.close(visit.id)
    response = web.HTTPSeeOther("/")
    drop_cookie(response, visit.node.sessions.cookie)
    raise response


async def speak(visit: Visit) -> web.Response:
    """In another language, from this page on."""
    fields = await visit.fields()
    response = web.HTTPSeeOther(_own_path(fields.get("next", "")))
    if fields.get("language") in LANGUAGES:
        set_cookie(visit.request, response, LANGUAGE_COOKIE, fields["language"], A_YEAR)
    raise response


def _own_path(path: str) -> str:
    """A path of this node; the first page for anything else, which might lead elsewhere."""
    return path if re.fullmatch(r"/(?![/\\])[\x21-\x7e]{0,2000}", path) else "/"


PAGES = (
    Page("GET", "/login", sign_in_form),
    Page("POST", "/login", sign_in),
    Page("POST", "/logout", sign_out),
    Page("POST", "/language", speak),
)
