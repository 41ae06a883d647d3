"""Reuse sessions: rows come in pieces, a plan is made, started with consent, followed, and its predictions fetched."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Literal

import msgspec
from aiohttp import web
from atoll.engine.errors import AtollError
from atoll.engine.reuse import Form, Method
from atoll.node.api.described import (
    BYTES,
    CSV,
    EVENTS,
    FILE_HEADERS,
    FILE_STATUSES,
    HTML,
    LAST_EVENT,
    LINES,
    OFFSET,
    Session,
)
from atoll.node.api.files import sent
from atoll.node.api.ids import parse_digest
from atoll.node.api.routing import Route, read_json, reply, user_of
from atoll.node.api.streaming import follow, last_event, sse, writer_of
from atoll.node.api.uploading import UploadView, appended
from atoll.node.errors import RequestInvalid
from atoll.node.reuse import report as pages
from atoll.node.reuse.query import Place, ReusePlan, ReuseQuery
from atoll.node.reuse.result import ReuseReport, State
from atoll.node.reuse.rows import Labelled
from atoll.node.reuse.running import Reusing
from atoll.node.reuse.written import csv_file
from atoll.node.telling import Event

if TYPE_CHECKING:
    from atoll.node.app import Node

NPY = "application/octet-stream"


class LabelledBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows that were uploaded (their SHA-256 in hex), with the class or value of each."""

    rows: str
    labels: tuple[str | float, ...]
    columns: tuple[str, ...] = ()


class ReuseBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``rows`` is the SHA-256 (hex) of what was uploaded, ``columns`` names its columns (empty: nameless); the rest is
    as in node.reuse.query."""

    search_id: str
    rows: str
    columns: tuple[str, ...] = ()
    labelled: LabelledBody | None = None
    method: Method | Literal["auto"] = "auto"
    form: Form | Literal["auto"] = "auto"
    prefer: Place = "local"
    members: int = 10
    abstain: bool = False
    force: bool = False
    local_only: bool = False
    units: dict[str, str] = {}


class StartBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``send``: rows may leave this node, as the plan says."""

    send: bool = False


class ReuseView(msgspec.Struct, frozen=True):
    """``report`` is there once it is done; ``failed`` says why there will be none."""

    id: str
    state: State
    plan: ReusePlan
    report: ReuseReport | None
    failed: str = ""


async def upload(node: Node, request: web.Request) -> web.Response:
    """Append the body to an upload of rows at ``offset``."""
    append = partial(node.reuser.uploads.append, user_of(request), _digest(request))
    return reply(await appended(request, append))


async def uploaded(node: Node, request: web.Request) -> web.Response:
    return reply(UploadView(await asyncio.to_thread(node.reuser.uploads.received, user_of(request), _digest(request))))


async def drop(node: Node, request: web.Request) -> web.Response:
    """Remove an upload that no session uses."""
    await asyncio.to_thread(node.reuser.uploads.drop, user_of(request), _digest(request))
    return web.Response(status=204)


async def plan(node: Node, request: web.Request) -> web.Response:
    """A plan for uploaded rows; nothing is sent."""
    body, user = await read_json(request, ReuseBody), user_of(request)
    query = ReuseQuery(
        body.search_id, body.method, body.form, body.prefer, body.members, body.abstain, body.force, body.local_only,
        body.units, user,
    )  # fmt: skip
    node.searcher.session(body.search_id, user)  # before gigabytes are hashed
    rows = await asyncio.to_thread(node.reuser.uploads.open, user, parse_digest(body.rows), body.columns)
    labelled = await asyncio.to_thread(_labelled, node, user, body.labelled) if body.labelled is not None else None
    return reply(_view(await node.reuser.plan(query, rows, labelled)), status=201)


async def start(node: Node, request: web.Request) -> web.Response:
    """Carry the plan out; if rows leave this node, only with ``send``."""
    body = await read_json(request, StartBody)
    return reply(_view(node.reuser.start(request.match_info["id"], user_of(request), send=body.send)))


async def show(node: Node, request: web.Request) -> web.Response:
    return reply(_view(_reusing(node, request)))


async def forget(node: Node, request: web.Request) -> web.Response:
    """End it, and remove its rows and predictions."""
    await node.reuser.forget(request.match_info["id"], user_of(request))
    return web.Response(status=204)


async def events(node: Node, request: web.Request) -> web.StreamResponse:
    return await follow(request, _reusing(node, request), writer_of(request) or sse, last_event(request))


async def predictions(node: Node, request: web.Request) -> web.StreamResponse:
    """As CSV, or by ``Accept`` as `.npy`: float64 (n, c)."""
    reusing = _reusing(node, request)
    told = await _done(reusing)
    npy = NPY in request.headers.get("Accept", "")
    path = reusing.predictions if npy else await asyncio.to_thread(csv_file, reusing.predictions, told.class_names)
    media_type, name = NPY if npy else "text/csv", f"predictions-{reusing.id}{path.suffix}"
    return await sent(request, path, name, media_type=media_type, name=name)  # a session predicts once


async def report(node: Node, request: web.Request) -> web.Response:
    """The report as a page of its own."""
    text = await asyncio.to_thread(pages.page, await _done(_reusing(node, request)))
    return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": pages.POLICY})


def _labelled(node: Node, user: str, body: LabelledBody) -> Labelled:
    digest = parse_digest(body.rows)
    return Labelled(node.reuser.uploads.open(user, digest, body.columns), body.labels, digest)


def _reusing(node: Node, request: web.Request) -> Reusing:
    return node.reuser.reusing(request.match_info["id"], user_of(request))


async def _done(reusing: Reusing) -> ReuseReport:
    if reusing.state in ("planned", "running"):
        raise RequestInvalid("this session has not ended", hint="start it, and follow its events to the end")
    return await reusing.result()


def _view(reusing: Reusing) -> ReuseView:
    return ReuseView(reusing.id, reusing.state, reusing.plan, reusing.report, _failed(reusing))


def _failed(reusing: Reusing) -> str:
    if reusing.state != "failed" or reusing.task is None or reusing.task.cancelled():
        return ""
    error = reusing.task.exception()
    return error.message if isinstance(error, AtollError) else "it failed; the node's log says why"


def _digest(request: web.Request) -> bytes:
    return parse_digest(request.match_info["sha256"])


ROOT = "/api/v1/reuses"
ROUTES = (
    Route("GET", "/api/v1/rows/{sha256}", uploaded, "predict", "How much of an upload of rows is there",
          result=UploadView),
    Route("PUT", "/api/v1/rows/{sha256}", upload, "predict", "Go on with an upload of rows", result=UploadView,
          act="rows.append",
          query=(OFFSET,), takes=BYTES),
    Route("DELETE", "/api/v1/rows/{sha256}", drop, "predict", "Remove an upload of rows", act="rows.forget",
          status=204),
    Route("POST", ROOT, plan, "predict", "Plan the reuse of what a search has found", ReuseBody, ReuseView,
          act="reuse.plan", noted=("search_id",),
          status=201, reaches=True),
    Route("GET", ROOT + "/{id}", show, "predict", "A reuse session", result=ReuseView,
          ids=Session),
    Route("DELETE", ROOT + "/{id}", forget, "predict", "End and forget it, with its rows", act="reuse.forget",
          ids=Session, status=204),
    Route("POST", ROOT + "/{id}/start", start, "predict", "Carry a plan out", StartBody, ReuseView, act="reuse.start",
          noted=("send",),
          ids=Session),
    Route("GET", ROOT + "/{id}/events", events, "predict", "Follow it, after Last-Event-ID", result=Event,
          ids=Session, headers=(LAST_EVENT,), gives=(EVENTS, LINES)),
    Route("GET", ROOT + "/{id}/predictions", predictions, "predict", "What was predicted, as CSV or .npy",
          ids=Session, headers=FILE_HEADERS, gives=(CSV, BYTES), more=FILE_STATUSES, reaches=True),
    Route("GET", ROOT + "/{id}/report", report, "predict", "Its report as a page",
          ids=Session, gives=(HTML,), reaches=True),
)  # fmt: skip
