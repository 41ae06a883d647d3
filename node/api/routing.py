"""The route table: what every resource file declares, and from which the application and OpenAPI are made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from aiohttp import web
from atoll.engine.encoding import unpack_json
from atoll.engine.errors import EncodingError
from atoll.node.api.described import Digest, Field
from atoll.node.errors import RequestInvalid
from atoll.node.store.tokens import Scope, TokenRow

if TYPE_CHECKING:
    from atoll.node.app import Node

NODE: web.AppKey[Node] = web.AppKey("node")
TOKEN = web.RequestKey("token", TokenRow)


@dataclass
class About:
    """What this node knows of a request: its ``id``, whether it came through a trusted ``proxied`` way and by https
    (``secure``), for which ``host``; and once that is clear, the id of its ``token``, and who is the ``caller``."""

    id: str
    proxied: bool = False
    secure: bool = False
    host: str = ""
    token: str = ""
    caller: str = ""


ABOUT = web.RequestKey("about", About)
MAX_JSON = 16 * 1024 * 1024
AT_ONCE = 64 * 1024  # what is longer is read in a thread
T = TypeVar("T")
Handler = Callable[["Node", web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Route:
    """``scope`` None means open to everybody; ``body`` and ``result`` are msgspec types, for OpenAPI. ``anonymous``:
    without a token too, where the administrator lets anybody search. ``enveloped``: what it answers, errors too, is as
    Beimingwu's client expects (beimingwu.envelope).

    ``act`` is the name under which the audit log keeps every call, None for what changes nothing and gives no
    secret away; ``noted`` are the fields of the JSON body that it keeps too, texts that are no secret.

    The rest describes it: the type of ``{id}`` in its path, its ``query`` and ``headers``, a body that is a ``form`` or
    bytes of a media type (``takes``) in place of JSON, whether a body may be left out (``optional``), media types that
    it ``gives`` beside JSON, the ``status`` of what went well and what ``more`` there is, and whether it ``reaches``
    for peers, which may fail.
    """

    method: str
    path: str
    handler: Handler
    scope: Scope | None
    summary: str
    body: Any = None
    result: Any = None
    act: str | None = None
    noted: tuple[str, ...] = ()
    anonymous: bool = False
    enveloped: bool = False
    ids: Any = Digest
    query: tuple[Field, ...] = ()
    headers: tuple[Field, ...] = ()
    form: tuple[Field, ...] = ()
    takes: str = ""
    optional: bool = False
    gives: tuple[str, ...] = ()
    status: int = 200
    more: Mapping[int, str] = field(default_factory=dict)
    reaches: bool = False

    @property
    def writes(self) -> bool:
        """Whether it may find no room."""
        return self.act is not None or self.method != "GET"


async def read_json(request: web.Request, type_: type[T]) -> T:
    """The typed JSON body; RequestInvalid says where it is wrong."""
    if request.content_length is not None and request.content_length > MAX_JSON:
        raise RequestInvalid(f"the body is larger than {MAX_JSON} bytes")
    try:
        body = await request.read()
        if len(body) <= AT_ONCE:
            return unpack_json(body, type_, limit=MAX_JSON)
        return await asyncio.to_thread(unpack_json, body, type_, limit=MAX_JSON)
    except EncodingError as error:
        raise RequestInvalid(f"the body is not as expected: {error.message}") from None


def user_of(request: web.Request) -> str:
    """Who asks, as far as this node knows: its token; empty on a route that is open to everybody."""
    token: TokenRow | None = request.get(TOKEN)
    return token.id if token is not None else ""


def reply(value: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")
