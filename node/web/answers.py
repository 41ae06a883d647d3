"""How pages answer: a page, or for the script of the page JSON; errors in words."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from aiohttp import web
from atoll.engine.errors import AtollError
from atoll.node.api.problems import RETRY_SECONDS, retry_after
from atoll.node.errors import Unauthorised, outcome
from atoll.node.language import English
from atoll.node.web.failures import kind
from atoll.node.web.rendering import render
from atoll.node.web.visit import Visit


async def refused(visit: Visit, error: AtollError) -> web.Response:
    """A page, or for the script a sentence, in the words of the error; to sign in where that is what is missing."""
    status = outcome(error.code).status
    if scripted(visit):
        return faulty({"form": sentence(error)}, status)
    if isinstance(error, Unauthorised) and status == 401 and visit.request.method == "GET":
        raise web.HTTPSeeOther(f"/login?next={quote(visit.request.path_qs, safe='')}")
    response = await html(visit, "shared/error.html", error.code, error=sentence(error), kind=kind(error.code))
    response.headers.update(retry_after(error))
    return response


async def html(visit: Visit, template: str, code: str = "", *, status: int = 200, **values: Any) -> web.Response:
    """A whole page, with the status of an error's ``code``, or else this one."""
    text = await asyncio.to_thread(render, template, visit.node, visit=visit, **values)
    status = outcome(code).status if code else status
    headers = {"Retry-After": RETRY_SECONDS} if status == 429 else {}
    return web.Response(text=text, status=status, content_type="text/html", headers=headers)


def scripted(visit: Visit) -> bool:
    """Whether the page's script asks, which takes JSON."""
    return "application/json" in visit.request.headers.get("Accept", "")


def onward(visit: Visit, path: str) -> web.Response:
    """To another page; a script goes there by itself, and is told where."""
    if not scripted(visit):
        raise web.HTTPSeeOther(path)
    return web.json_response({"page": path})


def faulty(errors: dict[str, str], status: int = 422) -> web.Response:
    """For the script: what is wrong, by field."""
    return web.json_response(faults(errors), status=status)


def faults(errors: dict[str, str]) -> dict[str, object]:
    """What is wrong, by field, and which of it is English."""
    return {"errors": errors, "english": [name for name, text in errors.items() if isinstance(text, English)]}


def sentence(error: AtollError) -> English:
    """What an error says."""
    text = error.message[:1].upper() + error.message[1:]
    return English(f"{text}. {error.hint[:1].upper()}{error.hint[1:]}." if error.hint else f"{text}.")
