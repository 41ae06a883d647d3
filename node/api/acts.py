"""Acts: calls that change something. Each is in the audit log before it is done, and again with what came of it.

No row, no act. A row "asked" that no other row answers is an act during which the node ended: its outcome is unknown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from atoll.engine.errors import AtollError
from atoll.node.api.routing import NODE, Route, read_json
from atoll.node.clock import now_ms
from atoll.node.errors import NodeStopping, RequestInvalid
from atoll.node.store.audit import DONE, AuditLog
from atoll.node.store.tokens import TokenRow

log = logging.getLogger("atoll.audit")
MORE = web.RequestKey("noted", dict[str, str])
ASKED = "asked"
MAX_NAME = 80


async def perform(route: Route, act: str, token: TokenRow, request: web.Request) -> web.StreamResponse:
    """The handler's answer, or its error; StoreError before anything is done if the log takes no rows."""
    async with noting(request.app[NODE].audit, token, act, await _subject(route, request)) as request[MORE]:
        return await route.handler(request.app[NODE], request)


@asynccontextmanager
async def noting(
    audit: AuditLog, token: TokenRow, act: str, subject: Mapping[str, str]
) -> AsyncIterator[dict[str, str]]:
    """What the block does is an act; StoreError, and it does not begin, if the log takes no rows. What it puts into the
    mapping is kept with the outcome."""
    actor = actor_of(token)
    asked = await asyncio.to_thread(audit.append, actor, act, subject, ASKED, now_ms())
    subject, more = {**subject, "asked": str(asked.seq)}, dict[str, str]()
    try:
        yield more
    except asyncio.CancelledError:  # the node ends before the act has
        await asyncio.shield(_answer(audit, actor, act, subject | more | subject, NodeStopping.code))
        raise
    except Exception as error:  # noted, and passed on to where it becomes a response
        await _answer(audit, actor, act, subject | more | subject, _code(error))
        raise
    await _answer(audit, actor, act, subject | more | subject, DONE)


def note(request: web.Request, **subject: str) -> None:
    """What only the handler of an act learns of what it is about: kept with its outcome."""
    request[MORE].update(subject)


async def _answer(audit: AuditLog, actor: str, act: str, subject: Mapping[str, str], outcome: str) -> None:
    """The second row. What was done is done: to fail here would make the caller do it again."""
    try:
        await asyncio.to_thread(audit.append, actor, act, subject, outcome, now_ms())
    except AtollError as error:
        log.exception("the outcome %s of %s is not in the audit log", outcome, act, exc_info=error)


async def _subject(route: Route, request: web.Request) -> dict[str, str]:
    """The path parameters and the noted fields of query and body; a body that is not JSON has none: its handler will
    refuse it."""
    subject = dict(request.match_info)
    subject |= {name: value for name, value in request.query.items() if name in route.noted}
    if route.noted:
        try:
            body = await read_json(request, dict[str, object])
        except RequestInvalid:
            return subject
        found = {name: _plain(body.get(name)) for name in route.noted}
        subject |= {name: text for name, text in found.items() if text is not None}
    return subject


def _plain(value: object) -> str | None:
    """A text, the texts of a list, or yes or no; nothing else is noted."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
    return ", ".join(texts) if texts else None


def actor_of(token: TokenRow) -> str:
    """What the log calls whoever acts with it. The id tells tokens of one name apart, and no token's name can pass for
    "node"."""
    return f"{token.name[:MAX_NAME]} ({token.id[:8]})"


def _code(error: Exception) -> str:
    if isinstance(error, AtollError):
        return error.code
    return "request.invalid" if isinstance(error, web.HTTPException) else "internal"
