"""The audit log as administrators read and check it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import msgspec
from aiohttp import web
from atoll.node.api.described import Digest, Field
from atoll.node.api.ids import parse_digest
from atoll.node.api.routing import Route, reply
from atoll.node.errors import RequestInvalid
from atoll.node.store.audit import AuditRow, Head

if TYPE_CHECKING:
    from atoll.node.app import Node

PAGE, MAX_PAGE = 100, 1000
MAX_SEQ = 2**63 - 1


class EntryView(msgspec.Struct, frozen=True):
    """A row of the log. ``outcome`` is "asked", "done" or an error code; ``previous`` is in hex."""

    seq: int
    at: int
    actor: str
    act: str
    subject: dict[str, str]
    outcome: str
    previous: str


class AuditPage(msgspec.Struct, frozen=True):
    """Rows, oldest first; pass ``cursor`` as ``after`` for the rows that follow, None ends."""

    items: tuple[EntryView, ...]
    total: int
    cursor: int | None


class VerificationView(msgspec.Struct, frozen=True):
    """The newest row and its digest (hex): a witness for the next time. ``broken`` None means that all rows hold."""

    seq: int
    digest: str
    broken: int | None
    why: str | None


async def index(node: Node, request: web.Request) -> web.Response:
    """The ``limit`` rows after row ``after``; without ``after``, the newest."""
    limit = _number(request, "limit", 1, MAX_PAGE) if "limit" in request.query else PAGE
    total = (await asyncio.to_thread(node.audit.head)).seq
    after = _number(request, "after", 0, MAX_SEQ) if "after" in request.query else max(0, total - limit)
    rows = await asyncio.to_thread(node.audit.entries, after, limit)
    cursor = rows[-1].seq if rows and rows[-1].seq < total else None
    return reply(AuditPage(tuple(map(view, rows)), total, cursor))


async def verify(node: Node, request: web.Request) -> web.Response:
    """Read the whole log; ``seq`` and ``digest`` (hex) are those of a witness, to be given together."""
    given = {"seq", "digest"} & set(request.query)
    if len(given) == 1:
        raise RequestInvalid("a witness has seq and digest")
    witness = Head(_number(request, "seq", 0, MAX_SEQ), parse_digest(request.query["digest"])) if given else None
    return reply(await verified(node, witness))


async def verified(node: Node, witness: Head | None) -> VerificationView:
    """What reading the whole log has found."""
    head = await asyncio.to_thread(node.audit.head)  # before verifying: what is handed out has been read
    broken = await asyncio.to_thread(node.audit.verify, witness)
    return VerificationView(head.seq, head.digest.hex(), broken and broken.seq, broken and broken.why)


def _number(request: web.Request, name: str, least: int, largest: int) -> int:
    text = request.query[name]
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and least <= int(text) <= largest):
        raise RequestInvalid(f"{name} is a number from {least} to {largest}, not {text[:40]!r}")
    return int(text)


def view(row: AuditRow) -> EntryView:
    """As it is shown."""
    return EntryView(row.seq, row.at, row.actor, row.act, row.subject, row.outcome, row.previous.hex())


AFTER = Field("after", Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)], "rows after this one; without it, the newest")
LIMIT = Field("limit", Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)], f"how many, {PAGE} without it")
WITNESS = (
    Field("seq", Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)], "of a witness, with its digest"),
    Field("digest", Digest, "of a witness, with its seq"),
)
ROUTES = (
    Route(
        "GET", "/api/v1/audit", index, "admin", "Who asked for what, and what came of it", result=AuditPage,
        query=(AFTER, LIMIT),
    ),
    Route(
        "GET", "/api/v1/audit/verification", verify, "admin", "Whether the log is unbroken", result=VerificationView,
        query=WITNESS,
    ),
)  # fmt: skip
