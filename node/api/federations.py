"""Federations: create, invite, join, leave, renew, members."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Annotated

import msgspec
from aiohttp import web
from atoll.node.administration import QUOTA, InviteRow, Role, invite_id
from atoll.node.api.acts import MORE, actor_of
from atoll.node.api.ids import parse_digest
from atoll.node.api.routing import TOKEN, Route, read_json, reply
from atoll.node.clock import now_ms
from atoll.node.policy import noted
from atoll.node.store.federations import Federation
from atoll.node.store.tokens import TokenRow
from atoll.node.upkeep import renew_certificate
from atoll.protocol import limits
from atoll.protocol.errors import InviteInvalid
from atoll.protocol.ids import peer_id
from atoll.protocol.membership import Certificate, read_invite

if TYPE_CHECKING:
    from atoll.node.app import Node

HOUR = 60 * limits.MINUTE


class FederationView(msgspec.Struct, frozen=True):
    """A federation this node is in; ``roles`` are its own, ``expires_at`` is when its membership has to be renewed, and
    ``standing`` whether it is a member still: not if it was revoked, or its certificate has expired."""

    id: str
    name: str
    open: bool
    roles: tuple[str, ...]
    admin: bool
    members: int
    expires_at: int
    standing: bool


class MemberView(msgspec.Struct, frozen=True):
    """A member in good standing whose certificate this node has seen."""

    peer_id: str
    name: str
    roles: tuple[str, ...]
    admin: bool
    max_listings: int
    listings: int
    hidden: str
    expires_at: int


class FederationBody(msgspec.Struct, frozen=True):
    """An ``open`` federation may be joined by anyone, with a small quota."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    open: bool = False


class InviteBody(msgspec.Struct, frozen=True):
    """What the newcomer may do: a reader lists nothing; ``hours`` is how long the invite holds."""

    role: Role = "member"
    max_listings: Annotated[int, msgspec.Meta(ge=0, le=limits.LISTINGS)] = QUOTA
    hours: Annotated[int, msgspec.Meta(ge=1, le=24 * 30)] = 24


class InviteView(msgspec.Struct, frozen=True):
    """One line of text, for one newcomer (of an open federation: for anybody), until ``expires_at``. ``id`` is what
    lists and the audit log call it, empty for an open federation."""

    invite: str
    expires_at: int
    id: str = ""


class InviteState(msgspec.Struct, frozen=True):
    """An invite of this node that has not expired, without its line. ``made_by`` is a token as the audit log names it,
    ``used_by`` the peer that has come with it, empty until then."""

    id: str
    role: Role
    max_listings: int
    made_by: str
    expires_at: int
    used_by: str
    used_by_name: str


class JoinBody(msgspec.Struct, frozen=True):
    invite: str


async def index(node: Node, request: web.Request) -> web.Response:
    return reply([federation_view(node, federation) for federation in node.federations.all()])


async def create(node: Node, request: web.Request) -> web.Response:
    """Found a federation with this node as its admin."""
    return reply(await found(node, await read_json(request, FederationBody)), status=201)


async def invite(node: Node, request: web.Request) -> web.Response:
    """A single-use invite."""
    federation = parse_digest(request.match_info["id"])
    body = await read_json(request, InviteBody) if request.body_exists else InviteBody()
    return reply(await make_invite(node, federation, body, request[TOKEN], request[MORE]), status=201)


async def invites(node: Node, request: web.Request) -> web.Response:
    """The invites that were made at this node and have not expired; never the lines themselves."""
    return reply(await asyncio.to_thread(invite_states, node, parse_digest(request.match_info["id"])))


async def uninvite(node: Node, request: web.Request) -> web.Response:
    """Take back an invite that nobody has used: it lets nobody in any more."""
    parts = request.match_info
    await take_back(node, parse_digest(parts["id"]), parts["invite"], request[MORE])
    return web.Response(status=204)


async def join(node: Node, request: web.Request) -> web.Response:
    """Redeem an invite."""
    return reply(await join_by(node, (await read_json(request, JoinBody)).invite, request[MORE]), status=201)


async def leave(node: Node, request: web.Request) -> web.Response:
    """Withdraw what this node lists there, then forget the federation."""
    await leave_federation(node, parse_digest(request.match_info["id"]))
    return web.Response(status=204)


async def renew(node: Node, request: web.Request) -> web.Response:
    """Get a fresh certificate now; it is done by itself when a third of its life is left."""
    return reply(await renew_membership(node, parse_digest(request.match_info["id"])))


async def members(node: Node, request: web.Request) -> web.Response:
    return reply(member_views(node, parse_digest(request.match_info["id"])))


async def found(node: Node, body: FederationBody) -> FederationView:
    """Found a federation with this node as its admin, and take part in it."""
    federation = await asyncio.to_thread(partial(node.federations.create, body.name, now_ms(), open_=body.open))
    await node.network.joined(federation.id)
    return federation_view(node, federation)


async def make_invite(
    node: Node, federation: bytes, body: InviteBody, token: TokenRow, more: dict[str, str]
) -> InviteView:
    """An invite that leads to this node; NotMember unless it may give one. ``more`` is told which one it is, and what
    it grants."""
    make = partial(
        node.administration.invite, federation, node.network.addresses, now_ms(), body.hours * HOUR,
        role=body.role, max_listings=body.max_listings, made_by=actor_of(token),
    )  # fmt: skip
    made = await asyncio.to_thread(make)
    id_ = invite_id(made.token)
    more |= {"max_listings": str(body.max_listings), "hours": str(body.hours), "invite": id_}
    return InviteView(made.line(), made.expires_at, id_)


def invite_states(node: Node, federation: bytes) -> list[InviteState]:
    """As :func:`invites`; NotMember unless this node is an admin of the federation."""
    return [_invite(node, id_, row) for id_, row in node.administration.invites(federation, now_ms())]


async def take_back(node: Node, federation: bytes, id_: str, more: dict[str, str]) -> None:
    """As :func:`uninvite`; NotFound for none in force, InviteInvalid for one that was used. ``more`` is told whose it
    was."""
    row = await asyncio.to_thread(node.administration.take_back, federation, id_, now_ms())
    more |= {"role": row.role, "made_by": row.made_by}


async def join_by(node: Node, line: str, more: dict[str, str]) -> FederationView:
    """Redeem the invite in a pasted line; InviteInvalid if it is none, or not in force. ``more`` is told where it
    leads, and who has made it, be it that it is not accepted."""
    made = read_invite(line)
    more |= noted.joining(made)
    if now_ms() >= made.expires_at:
        raise InviteInvalid("the invite has expired", hint="ask the admin for a new one")
    return federation_view(node, await node.network.join(made))


async def leave_federation(node: Node, federation: bytes) -> None:
    """Withdraw what this node lists there, tell the members, then forget the federation; NotFound if it is in none."""
    node.federations.get(federation)
    if node.federations.standing(federation, node.identity.public, now_ms()):
        await node.network.settled()
        news = await asyncio.to_thread(node.publisher.withdraw_all, federation, now_ms())
        if news is not None:
            await node.network.tell(news)
    await asyncio.to_thread(node.federations.leave, federation)
    await node.network.left(federation)


async def renew_membership(node: Node, federation: bytes) -> FederationView:
    """Get a fresh certificate now; Unreachable while no admin is connected who gives one."""
    node.federations.get(federation)
    await renew_certificate(node, federation, force=True)
    return federation_view(node, node.federations.get(federation))


def member_views(node: Node, federation: bytes) -> list[MemberView]:
    """The members in good standing whose certificates are known here, by key."""
    now, admins = now_ms(), node.federations.admins(federation)
    known = node.federations.members(federation, now)
    return [_member(node, federation, each, each.member in admins, now) for each in known]


def _invite(node: Node, id_: str, row: InviteRow) -> InviteState:
    used_by = peer_id(row.used_by) if row.used_by is not None else ""
    name = node.peers.name(used_by) if used_by else ""
    return InviteState(id_, row.role, row.max_listings, row.made_by, row.expires_at, used_by, name)


def _member(node: Node, federation: bytes, certificate: Certificate, admin: bool, now: int) -> MemberView:
    listings = len(node.catalogue.of_owner(federation, certificate.member))
    return MemberView(
        peer_id(certificate.member), certificate.name, certificate.roles, admin, certificate.max_listings, listings,
        node.catalogue.hidden(federation, certificate.member, now) if listings else "", certificate.expires_at,
    )  # fmt: skip


def federation_view(node: Node, federation: Federation) -> FederationView:
    own = federation.certificate
    count = len(node.federations.members(federation.id, now_ms()))
    admin = node.identity.public in node.federations.admins(federation.id)
    return FederationView(
        federation.id.hex(),
        federation.charter.name,
        federation.charter.open,
        own.roles,
        admin,
        count,
        own.expires_at,
        node.federations.standing(federation.id, node.identity.public, now_ms()),
    )


ROUTES = (
    Route("GET", "/api/v1/federations", index, "read", "Federations of this node", result=list[FederationView]),
    Route(
        "POST", "/api/v1/federations", create, "admin", "Found a federation", FederationBody, FederationView,
        act="federation.create", noted=("name",),
        status=201,
    ),
    Route(
        "POST", "/api/v1/federations/{id}/invites", invite, "admin", "Invite one newcomer", InviteBody, InviteView,
        act="federation.invite", noted=("role",),
        status=201, optional=True,
    ),
    Route(
        "GET", "/api/v1/federations/{id}/invites", invites, "admin", "Its invites that have not expired",
        result=list[InviteState],
    ),
    Route(
        "DELETE", "/api/v1/federations/{id}/invites/{invite}", uninvite, "admin", "Take an invite back",
        act="federation.uninvite",
        status=204,
    ),
    Route(
        "POST", "/api/v1/federations/join", join, "admin", "Join by invite", JoinBody, FederationView,
        act="federation.join",
        status=201, reaches=True,
    ),
    Route("DELETE", "/api/v1/federations/{id}", leave, "admin", "Leave", act="federation.leave",
          status=204),
    Route(
        "POST", "/api/v1/federations/{id}/renewal", renew, "admin", "Renew the membership", result=FederationView,
        act="federation.renew",
        reaches=True,
    ),
    Route("GET", "/api/v1/federations/{id}/members", members, "read", "Known members", result=list[MemberView]),
)  # fmt: skip
