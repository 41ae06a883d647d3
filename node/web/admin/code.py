"""Others' code that runs here: what was let in, and what somebody wants to let in, looked at before."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web
from atoll.engine.errors import AtollError
from atoll.node.api.code import CodeBody, admitted, refused, view
from atoll.node.clock import now_ms
from atoll.node.language import gettext, later
from atoll.node.web.answers import html, sentence
from atoll.node.web.page import Page
from atoll.node.web.visit import Visit
from atoll.protocol.errors import NotFound
from atoll.protocol.ids import parse_digest, peer_id

if TYPE_CHECKING:
    from atoll.node.app import Node

SAID = {
    "allowed": later("This revision may run here now."),
    "refused": later("No revision of it runs here any more."),
}


class Candidate(NamedTuple):
    """A listed revision of a learnware, and whether it was let in."""

    learnware_id: str
    revision: str
    name: str
    owner: str
    issued_at: int
    admitted: bool


async def index(visit: Visit) -> web.Response:
    """With ``?learnware=`` also the revisions of it that are listed."""
    wanted, error, found = visit.request.query.get("learnware", "").strip()[:64], "", []
    if wanted:
        try:
            found = await asyncio.to_thread(_candidates, visit.node, parse_digest(wanted))
        except AtollError as problem:
            error = sentence(problem)
    rows = [view(visit.node, row) for row in visit.node.code.all()]
    return await html(
        visit, "admin/code.html", tab="/admin/code", rows=rows, wanted=wanted, error=error, candidates=found,
        said=visit.said(SAID),
    )  # fmt: skip


async def allow(visit: Visit) -> web.Response:
    fields, id_ = await visit.fields(), visit.request.match_info["id"]
    body = CodeBody(fields.get("owner", ""), fields.get("revision", ""))
    async with visit.noting("code.allow", id=id_, owner=body.owner, revision=body.revision):
        await admitted(visit.node, parse_digest(id_), body)
    raise web.HTTPSeeOther("/admin/code?said=allowed")


async def refuse(visit: Visit) -> web.Response:
    await visit.fields()
    id_ = visit.request.match_info["id"]
    async with visit.noting("code.refuse", id=id_):
        await refused(visit.node, parse_digest(id_))
    raise web.HTTPSeeOther("/admin/code?said=refused")


def _candidates(node: Node, learnware_id: bytes) -> list[Candidate]:
    """NotFound unless others list it."""
    now, found = now_ms(), {}
    for each in node.catalogue.versions(learnware_id, now):
        if each.owner != node.identity.public:
            found[each.owner, each.revision] = Candidate(
                each.learnware_id.hex(), each.revision.hex(), each.semantic.name, peer_id(each.owner), each.issued_at,
                node.code.admits(each.owner, each.revision),
            )  # fmt: skip
    if not found:
        raise NotFound(gettext("no other institution lists this learnware here"))
    return sorted(found.values(), key=lambda each: -each.issued_at)


PAGES = (
    Page("GET", "/admin/code", index, "admin"),
    Page("POST", "/admin/code/{id}/allow", allow, "admin"),
    Page("POST", "/admin/code/{id}/refuse", refuse, "admin"),
)
