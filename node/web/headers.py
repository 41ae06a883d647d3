"""What every answer of the page says to the browser: load nothing from elsewhere, run nothing inline, tell nobody."""

from __future__ import annotations

from typing import TypeVar

from aiohttp import web

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
Response = TypeVar("Response", bound=web.StreamResponse)


def guarded(response: Response) -> Response:
    """The response with these headers, and kept nowhere unless it says otherwise."""
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def set_cookie(request: web.Request, response: web.StreamResponse, name: str, value: str, seconds: int) -> None:
    """For this node alone: no script reads it, no other site sends it, and where HTTPS is, only HTTPS carries it."""
    response.set_cookie(name, value, max_age=seconds, path="/", httponly=True, samesite="Strict", secure=request.secure)


def drop_cookie(response: web.StreamResponse, name: str) -> None:
    response.del_cookie(name, path="/", httponly=True, samesite="Strict")
