"""Uploads and submissions: a package comes in pieces, is judged, and is then in the dock or refused, with a log."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Annotated

import msgspec
from aiohttp import web
from atoll.engine.packages.acceptance import AcceptanceReport
from atoll.node.acceptance.submissions import LabelledRows, State, SubmissionRow
from atoll.node.api.described import BYTES, OFFSET, Field, Session
from atoll.node.api.ids import parse_digest
from atoll.node.api.routing import Route, read_json, reply, user_of
from atoll.node.api.uploading import UploadView, appended
from atoll.protocol.errors import NotFound

if TYPE_CHECKING:
    from atoll.node.app import Node

MAX_WAIT = 60.0  # seconds


class SubmissionBody(msgspec.Struct, frozen=True):
    """The SHA-256 (hex) of what was uploaded; ``labelled`` is a sample to measure the model's quality on."""

    sha256: str
    labelled: LabelledRows | None = None


class SubmissionView(msgspec.Struct, frozen=True):
    """``report`` is there once it is decided, ``learnware_id`` once it is accepted."""

    id: str
    state: State
    submitted_at: int
    decided_at: int
    learnware_id: str
    report: AcceptanceReport | None


async def upload(node: Node, request: web.Request) -> web.Response:
    """Append the body to an upload at ``offset``."""
    return reply(await appended(request, partial(node.acceptance.uploads.append, _digest(request))))


async def uploaded(node: Node, request: web.Request) -> web.Response:
    return reply(UploadView(await asyncio.to_thread(node.acceptance.uploads.received, _digest(request))))


async def submit(node: Node, request: web.Request) -> web.Response:
    body = await read_json(request, SubmissionBody)
    row = await node.acceptance.submit(parse_digest(body.sha256), user_of(request), body.labelled)
    return reply(_view(row), status=201)


async def index(node: Node, request: web.Request) -> web.Response:
    return reply([_view(row) for row in node.acceptance.all()])


async def show(node: Node, request: web.Request) -> web.Response:
    """One submission; with ``wait`` (seconds) only once it is decided, or that time is over."""
    try:
        id_, wait = bytes.fromhex(request.match_info["id"]), float(request.query.get("wait", "0"))
    except ValueError:
        raise NotFound("no such submission") from None
    return reply(_view(await node.acceptance.decided(id_, min(max(wait, 0.0), MAX_WAIT))))


def _digest(request: web.Request) -> bytes:
    return parse_digest(request.match_info["sha256"])


def _view(row: SubmissionRow) -> SubmissionView:
    return SubmissionView(row.id.hex(), row.state, row.submitted_at, row.decided_at, row.learnware_id.hex(), row.report)


WAIT = Field("wait", Annotated[float, msgspec.Meta(ge=0, le=MAX_WAIT)], "seconds to wait until it is decided")
ROUTES = (
    Route("GET", "/api/v1/uploads/{sha256}", uploaded, "publish", "How much of an upload is there", result=UploadView),
    Route("PUT", "/api/v1/uploads/{sha256}", upload, "publish", "Go on with an upload", result=UploadView,
          act="upload.append",
          query=(OFFSET,), takes=BYTES),
    Route("GET", "/api/v1/submissions", index, "publish", "Packages and their checks", result=list[SubmissionView]),
    Route("POST", "/api/v1/submissions", submit, "publish", "Have an upload checked and taken in", SubmissionBody,
          SubmissionView, act="learnware.submit", noted=("sha256",),
          status=201),
    Route("GET", "/api/v1/submissions/{id}", show, "publish", "One of them, with its log", result=SubmissionView,
          ids=Session, query=(WAIT,)),
)  # fmt: skip
