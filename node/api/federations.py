"""Federations: create, invite, join, members."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import msgspec
from aiohttp import web
from atoll.node.api.routing import Route, read_json, reply
from atoll.node.clock import now_ms
from atoll.node.store.federations import Federation
from atoll.protocol import limits
from atoll.protocol.errors import InviteInvalid
from atoll.protocol.ids import parse_digest, peer_id
from atoll.protocol.membership import read_invite

if TYPE_CHECKING:
    from atoll.node.app import Node


class FederationView(msgspec.Struct, frozen=True):
    """A federation this node is in."""

    id: str
    name: str
    roles: tuple[str, ...]
    members: int
    expires_at: int


class MemberView(msgspec.Struct, frozen=True):
    """A member whose certificate this node has seen."""

    peer_id: str
    name: str
    roles: tuple[str, ...]
    expires_at: int


class FederationBody(msgspec.Struct, frozen=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]


class InviteView(msgspec.Struct, frozen=True):
    """One line of text, for one newcomer, until ``expires_at``."""

    invite: str
    expires_at: int


class JoinBody(msgspec.Struct, frozen=True):
    invite: str


async def index(node: Node, request: web.Request) -> web.Response:
    return reply([_view(node, federation) for federation in node.federations.all()])


async def create(node: Node, request: web.Request) -> web.Response:
    """Found a private federation with this node as its admin."""
    body = await read_json(request, FederationBody)
    federation = await asyncio.to_thread(node.federations.create, body.name, now_ms())
    await node.network.joined(federation.id)
    return reply(_view(node, federation), status=201)


async def invite(node: Node, request: web.Request) -> web.Response:
    """A single-use invite, valid for a day."""
    federation = parse_digest(request.match_info["id"])
    made = await asyncio.to_thread(node.federations.invite, federation, node.network.addresses, now_ms(), limits.DAY)
    return reply(InviteView(made.line(), made.expires_at), status=201)


async def join(node: Node, request: web.Request) -> web.Response:
    """Redeem an invite."""
    made = read_invite((await read_json(request, JoinBody)).invite)
    if now_ms() >= made.expires_at:
        raise InviteInvalid("the invite has expired", hint="ask the admin for a new one")
    return reply(_view(node, await node.network.join(made)), status=201)


async def members(node: Node, request: web.Request) -> web.Response:
    found = node.federations.members(parse_digest(request.match_info["id"]))
    return reply([MemberView(peer_id(each.member), each.name, each.roles, each.expires_at) for each in found])


def _view(node: Node, federation: Federation) -> FederationView:
    own = federation.certificate
    count = len(node.federations.members(federation.id))
    return FederationView(federation.id.hex(), federation.charter.name, own.roles, count, own.expires_at)


ROUTES = (
    Route("GET", "/api/v1/federations", index, "read", "Federations of this node", result=list[FederationView]),
    Route("POST", "/api/v1/federations", create, "admin", "Found a private federation", FederationBody, FederationView),
    Route("POST", "/api/v1/federations/{id}/invites", invite, "admin", "Invite one newcomer", result=InviteView),
    Route("POST", "/api/v1/federations/join", join, "admin", "Join by invite", JoinBody, FederationView),
    Route("GET", "/api/v1/federations/{id}/members", members, "read", "Known members", result=list[MemberView]),
)
