"""How Beimingwu answers: {code, msg, data} with status 200, whatever has happened; code 0 if it went well."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler
from atoll.engine.errors import AtollError
from atoll.node.api.problems import BROKEN_OFF, retry_after
from atoll.node.api.routing import reply

log = logging.getLogger("atoll.http")
INVALID, INTERNAL = "request.invalid", "internal"


class Envelope(msgspec.Struct, frozen=True):
    """``code`` is 0, or that of an error of ours; ``msg`` says what is wrong and what to do, or what is worth saying
    beside ``data``."""

    code: int | str
    msg: str
    data: dict[str, Any] | None = None


def answer(data: dict[str, Any] | None = None, msg: str = "success") -> web.Response:
    """Of what went well."""
    return reply(Envelope(0, _plain(msg), data or {}))


def refusal(error: AtollError) -> web.Response:
    """Of what did not."""
    response = _refused(error.code, f"{error.message} ({error.hint})" if error.hint else error.message)
    response.headers.update(retry_after(error))
    return response


def enveloped(handler: Handler) -> Handler:
    """``handler``, whose errors are answered so too; unexpected ones are logged and say nothing of the inside."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except AtollError as error:
            return refusal(error)
        except BROKEN_OFF:
            return _refused(INVALID, "the request broke off (send it again)")
        except web.HTTPException as error:
            return _refused(INVALID, error.reason)
        except Exception as error:  # the outermost edge of a request
            log.exception("a request has failed", exc_info=error)
            return _refused(INTERNAL, "an unexpected error; the node's log says more")

    return handle


def _refused(code: str, msg: str) -> web.Response:
    return reply(Envelope(code, _plain(msg)))


def _plain(text: str) -> str:
    """Words of strangers may be in it, and lone surrogates in these: what was done is answered all the same."""
    return text.encode("utf-8", "replace").decode()
