"""Others' learnwares of code, Python or pickles, that this node runs: those that its administrator has let in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from atoll.node.api.ids import parse_digest
from atoll.node.api.routing import Route, read_json, reply
from atoll.node.clock import now_ms
from atoll.node.errors import RequestInvalid
from atoll.node.store.code import CodeRow
from atoll.protocol.errors import NotFound
from atoll.protocol.ids import peer_id

if TYPE_CHECKING:
    from atoll.node.app import Node


class CodeView(msgspec.Struct, frozen=True):
    """A revision that was let in; a later one is not."""

    learnware_id: str
    revision: str
    name: str
    owner: str
    owner_name: str
    since: int


class CodeBody(msgspec.Struct, frozen=True):
    """What was looked at: anything else is refused. Empty: whatever is listed, if that is one."""

    owner: str = ""
    revision: str = ""


async def index(node: Node, request: web.Request) -> web.Response:
    return reply([view(node, row) for row in node.code.all()])


async def put(node: Node, request: web.Request) -> web.Response:
    """Let a listed revision of a learnware in, by its owner; which, must be said where there are several."""
    body = await read_json(request, CodeBody) if request.body_exists else CodeBody()
    return reply(await admitted(node, parse_digest(request.match_info["id"]), body))


async def delete(node: Node, request: web.Request) -> web.Response:
    return reply(await refused(node, parse_digest(request.match_info["id"])))


async def admitted(node: Node, learnware_id: bytes, body: CodeBody) -> CodeView:
    """Let it in; NotFound, or RequestInvalid where the body does not tell which of several is meant."""
    node.catalogue.find(learnware_id, now_ms())
    found = {
        (peer_id(each.owner), each.revision.hex()): each
        for each in node.catalogue.versions(learnware_id, now_ms())
        if body.owner in ("", peer_id(each.owner)) and body.revision in ("", each.revision.hex())
    }
    if len(found) != 1:
        known = "; ".join(f"{revision} of {owner}" for owner, revision in sorted(found)) or "no such revision"
        raise RequestInvalid(f"say which revision, by which owner: {known}")
    (listing,) = found.values()
    row = CodeRow(listing.owner, listing.revision, listing.learnware_id, listing.semantic.name, now_ms())
    await asyncio.to_thread(node.code.add, row)
    return view(node, row)


async def refused(node: Node, learnware_id: bytes) -> list[CodeView]:
    """Let no revision of it in any more; NotFound if none was."""
    gone = await asyncio.to_thread(node.code.remove, learnware_id)
    if not gone:
        raise NotFound("no code of this learnware has been let in", hint="see `atoll code list`")
    return [view(node, row) for row in gone]


def view(node: Node, row: CodeRow) -> CodeView:
    """As it is shown, with the name of its owner."""
    owner = peer_id(row.owner)
    return CodeView(row.learnware_id.hex(), row.revision.hex(), row.name, owner, node.peers.name(owner), row.since)


ROOT = "/api/v1/code"
ROUTES = (
    Route("GET", ROOT, index, "read", "Others' code that was let in", result=list[CodeView]),
    Route("PUT", ROOT + "/{id}", put, "admin", "Let the code of a learnware in", CodeBody, CodeView,
          act="code.allow", noted=("owner", "revision"),
          optional=True),
    Route("DELETE", ROOT + "/{id}", delete, "admin", "Let it in no more", result=list[CodeView], act="code.refuse"),
)  # fmt: skip
