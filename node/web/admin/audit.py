"""The audit log for people: filtered and paged, checked, and taken away as a file."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import islice
from typing import NamedTuple

import msgspec
from aiohttp import web
from atoll.node.api.audit import MAX_SEQ, view
from atoll.node.api.audit import verified as read_all
from atoll.node.api.streaming import NDJSON
from atoll.node.errors import RequestInvalid
from atoll.node.language import gettext
from atoll.node.store.audit import AuditLog, AuditRow, Head
from atoll.node.web.answers import html
from atoll.node.web.headers import guarded
from atoll.node.web.page import Page
from atoll.node.web.paging import path_of
from atoll.node.web.visit import Visit
from atoll.protocol.ids import parse_digest
from atoll.protocol.limits import DAY

PAGE, SEEN = 50, 20_000  # rows of a page, and rows that are looked through for one
EXPORTED = 500  # rows that are written at a time
LONGEST = 80
WITNESS = re.compile(r"\s*([0-9]{1,18}):([0-9a-fA-F]{64})\s*")


class Filter(NamedTuple):
    """Parts of what a row says; ``day`` is a date in UTC, or "", and ``begins`` the midnight (ms) of it."""

    act: str
    actor: str
    outcome: str
    day: str
    begins: int | None

    @classmethod
    def of(cls, request: web.Request) -> Filter:
        """RequestInvalid for a day that is none."""
        said = {name: request.query.get(name, "").strip()[:LONGEST] for name in ("act", "actor", "outcome", "day")}
        return cls(**said, begins=_midnight(said["day"]))

    def admits(self, row: AuditRow) -> bool:
        return (
            self.act.lower() in row.act.lower()
            and self.actor.lower() in row.actor.lower()
            and self.outcome.lower() in row.outcome.lower()
            and (self.begins is None or self.begins <= row.at < self.begins + DAY)
        )


class Found(NamedTuple):
    """Rows, newest first; ``on`` is before which row to go on, 0 at the beginning of the log."""

    rows: list[AuditRow]
    on: int


async def index(visit: Visit) -> web.Response:
    wanted, before = Filter.of(visit.request), _before(visit.request)
    found = await asyncio.to_thread(_found, visit.node.audit, wanted, before)
    head = await asyncio.to_thread(visit.node.audit.head)
    older = path_of(visit.request, before=str(found.on)) if found.on else ""
    newest = path_of(visit.request, before="") if before else ""
    return await html(
        visit, "admin/audit.html", tab="/admin/audit", rows=found.rows, wanted=wanted, older=older, newest=newest,
        head=head, export=f"/admin/audit/rows?{visit.request.query_string}",
    )  # fmt: skip


async def verify(visit: Visit) -> web.Response:
    """The witness is a line that an earlier look, or `atoll audit verify`, has given."""
    given = visit.request.query.get("witness", "")
    match = WITNESS.fullmatch(given)
    error, result = "", None
    if given.strip() and match is None:
        error = gettext("A witness is a number, a colon and 64 hex digits.")
    else:
        witness = Head(int(match[1]), parse_digest(match[2].lower())) if match else None
        result = await read_all(visit.node, witness)
    return await html(
        visit, "admin/verification.html", status=422 if error else 200, tab="/admin/audit", result=result,
        witness=given.strip(), error=error,
    )  # fmt: skip


async def export(visit: Visit) -> web.StreamResponse:
    """The rows that the filter admits, oldest first, a line of JSON each."""
    wanted = Filter.of(visit.request)
    stream = guarded(web.StreamResponse())
    stream.content_type = NDJSON
    stream.headers["Content-Disposition"] = 'attachment; filename="audit.jsonl"'
    log = visit.node.audit
    rows = await asyncio.to_thread(_oldest_first, log, wanted)
    await stream.prepare(visit.request)
    while lines := await asyncio.to_thread(_lines, rows):
        await stream.write(lines)
    await stream.write_eof()
    return stream


def _midnight(day: str) -> int | None:
    if not day:
        return None
    try:
        return int(datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).timestamp() * 1000)
    except ValueError:
        raise RequestInvalid(gettext("a day is written as 2026-01-31")) from None


def _bounds(log: AuditLog, wanted: Filter) -> tuple[int, int]:
    """After which row those of the day begin, and the last of them; all where none is wanted."""
    begins = wanted.begins
    return (0, log.head().seq) if begins is None else (log.until(begins), log.until(begins + DAY))


def _found(log: AuditLog, wanted: Filter, before: int) -> Found:
    """Up to a page of rows before ``before`` (0: from the newest on)."""
    (after, newest), seen = _bounds(log, wanted), before
    rows: list[AuditRow] = []
    for row in islice(log.backwards(min(before or MAX_SEQ, newest + 1)), SEEN):
        if row.seq <= after:
            return Found(rows, 0)
        seen = row.seq
        if wanted.admits(row):
            rows.append(row)
            if len(rows) == PAGE:
                break
    return Found(rows, seen if seen - 1 > after else 0)


def _oldest_first(log: AuditLog, wanted: Filter) -> Iterator[AuditRow]:
    """What is there now: rows that come meanwhile are left out."""
    after, last = _bounds(log, wanted)

    def rows() -> Iterator[AuditRow]:
        at = after
        while at < last and (page := log.entries(at, min(EXPORTED, last - at))):
            yield from filter(wanted.admits, page)
            at = page[-1].seq

    return rows()


def _lines(rows: Iterator[AuditRow]) -> bytes:
    return b"".join(msgspec.json.encode(view(row)) + b"\n" for row in islice(rows, EXPORTED))


def _before(request: web.Request) -> int:
    text = request.query.get("before", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise RequestInvalid(gettext("no such page of the log"))
    return int(text)


PAGES = (
    Page("GET", "/admin/audit", index, "admin"),
    Page("GET", "/admin/audit/verification", verify, "admin"),
    Page("GET", "/admin/audit/rows", export, "admin"),
)
