"""Errors as RFC 9457 problem details with a stable ``code``; the one place where an error becomes a response."""

from __future__ import annotations

import logging
import math

import msgspec
from aiohttp import ClientPayloadError, web
from aiohttp.typedefs import Handler
from atoll.engine.errors import AtollError
from atoll.node import journal
from atoll.node.errors import NodeBusy, NodeStopping, TooOften, outcome

log = logging.getLogger("atoll.http")
MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = "5"
BROKEN_OFF = (ConnectionError, ClientPayloadError, web.RequestPayloadError)
BEIMINGWU = ("auth", "engine", "user")  # where its client looks below its host


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a client gets; it branches on ``code``. ``request_id`` is what the node's log calls the request."""

    code: str
    title: str
    status: int
    hint: str | None = None
    request_id: str | None = None


def problem(code: str, title: str, status: int, hint: str | None = None) -> web.Response:
    body = msgspec.json.encode(Problem(code, title, status, hint, journal.request_id()))
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return web.Response(body=body, status=status, content_type=MEDIA_TYPE, headers=headers)


def of(error: AtollError) -> web.Response:
    response = problem(error.code, error.message, outcome(error.code).status, error.hint)
    response.headers.update(retry_after(error))
    return response


def retry_after(error: AtollError) -> dict[str, str]:
    """The header that says when to ask again, for errors that pass."""
    if isinstance(error, TooOften):
        return {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
    return {"Retry-After": RETRY_SECONDS} if isinstance(error, (NodeBusy, NodeStopping)) else {}


def _elsewhere(request: web.Request) -> str:
    if request.path.removeprefix("/beimingwu").lstrip("/").partition("/")[0] in BEIMINGWU:
        return f"Beimingwu's client wants the host {request.scheme}://{request.host}/beimingwu, with no slash after it"
    return "see /api/v1/openapi.json"


def _not_allowed(request: web.Request, methods: list[str]) -> web.Response:
    allowed = ", ".join(methods)
    response = problem("request.invalid", f"{request.method} is not allowed here", 405, f"use {allowed}")
    response.headers["Allow"] = allowed
    return response


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into a problem; unexpected errors are logged and say nothing of the inside."""
    try:
        return await handler(request)
    except AtollError as error:
        return of(error)
    except web.HTTPNotFound:
        return problem("not_found", f"no resource {request.path}", 404, _elsewhere(request))
    except web.HTTPMethodNotAllowed as error:
        return _not_allowed(request, sorted(error.allowed_methods))
    except web.HTTPRequestEntityTooLarge:
        return problem("request.invalid", "the body is too large", 413)
    except web.HTTPException:
        raise
    except BROKEN_OFF:
        return problem("request.invalid", "the request broke off", 400, "send it again")
    except Exception as error:  # the outermost edge of a request
        log.exception("a request has failed", exc_info=error)
        return problem("internal", "an unexpected error; the node's log says more", 500)
