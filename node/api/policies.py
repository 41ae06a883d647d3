"""Policies: who may do what with a learnware of this dock, what was done with it, and requests in both directions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import msgspec
from aiohttp import web
from atoll.node.api.acts import MORE, note
from atoll.node.api.described import Short
from atoll.node.api.ids import parse_digest
from atoll.node.api.routing import Route, read_json, reply, user_of
from atoll.node.clock import now_ms
from atoll.node.policy import noted
from atoll.node.policy.gate import Permission
from atoll.node.policy.requests import RequestRow, Verdict
from atoll.node.policy.usage import Use
from atoll.protocol import limits
from atoll.protocol.ask import MAX_WORDS, ActState, AskRequest, State
from atoll.protocol.errors import NotFound
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing
from atoll.protocol.policy import Act, Asker, Policy

if TYPE_CHECKING:
    from atoll.node.app import Node

MAX_DAYS = 3650


class WhoCanBody(msgspec.Struct, frozen=True):
    """``policy`` None: the one in force."""

    policy: Policy | None = None


class RequestView(msgspec.Struct, frozen=True):
    """A request that has come to this node; ``until`` is when a grant ends (ms)."""

    id: str
    peer_id: str
    peer_name: str
    user: str
    federation: str
    learnware_id: str
    name: str
    act: Act
    words: str
    asked_at: int
    state: State
    until: int


class GrantBody(msgspec.Struct, frozen=True):
    days: Annotated[int, msgspec.Meta(ge=1, le=MAX_DAYS)] = 30


class AskBody(msgspec.Struct, frozen=True):
    """Without acts, only how things stand is asked."""

    acts: tuple[Act, ...] = ()
    words: Annotated[str, msgspec.Meta(max_length=MAX_WORDS)] = ""


async def index(node: Node, request: web.Request) -> web.Response:
    """By federation."""
    found = {each.federation.hex(): node.gate.policy(each) for each in _own(node, request)}
    return reply(found)


async def who_can(node: Node, request: web.Request) -> web.Response:
    """What each member may do, by the policy in force or one that is only tried; changes nothing."""
    body = await read_json(request, WhoCanBody) if request.body_exists else WhoCanBody()
    federation = parse_digest(request.match_info["federation"])
    listing = next((each for each in _own(node, request) if each.federation == federation), None)
    if listing is None:
        raise NotFound("the learnware is not listed in this federation", hint="list it with `atoll learnware policy`")
    return reply(await asyncio.to_thread(permissions, node, listing, body.policy))


def permissions(node: Node, listing: Listing, policy: Policy | None = None) -> list[Permission]:
    """As :func:`who_can`; RecordRejected for a policy that names what is no peer."""
    if policy is not None:
        policy.check()
    members = node.federations.members(listing.federation, now_ms())
    return node.gate.who_can(listing, [(peer_id(each.member), each.name) for each in members], now_ms(), policy)


async def usage(node: Node, request: web.Request) -> web.Response:
    """What was done with a learnware, by day, federation, peer and act."""
    learnware_id = parse_digest(request.match_info["id"])
    node.dock.get(learnware_id)
    return reply(await asyncio.to_thread(node.gate.usage.of, learnware_id))


async def requests(node: Node, request: web.Request) -> web.Response:
    return reply(received(node))


def received(node: Node) -> list[RequestView]:
    """The requests that have come, the newest first."""
    return [_view(node, row) for row in node.gate.requests.all()]


async def grant(node: Node, request: web.Request) -> web.Response:
    body = await read_json(request, GrantBody) if request.body_exists else GrantBody()
    return reply(await decide(node, request.match_info["id"], "granted", request[MORE], body.days))


async def deny(node: Node, request: web.Request) -> web.Response:
    return reply(await decide(node, request.match_info["id"], "denied", request[MORE]))


async def revoke(node: Node, request: web.Request) -> web.Response:
    """Take a grant back; what was downloaded meanwhile is not recalled by it."""
    return reply(await decide(node, request.match_info["id"], "revoked", request[MORE]))


async def ask(node: Node, request: web.Request) -> web.Response:
    """Ask the owner of a learnware of the catalogue for what it grants on request."""
    body = await read_json(request, AskBody)
    listing = node.catalogue.find(parse_digest(request.match_info["id"]), now_ms())
    note(request, **noted.asking(listing, body.acts))
    return reply(await ask_owner(node, listing, user_of(request), body))


async def ask_owner(node: Node, listing: Listing, user: str, body: AskBody) -> tuple[ActState, ...]:
    """How things stand with every act once the owner of the listing was asked for some, or none; what was asked is kept
    with that. What the owner says if it takes no such request, and ``p2p.*`` if it is not there."""
    pseudonym = node.pseudonyms.of(user, listing.federation)
    message = AskRequest(listing.federation, listing.learnware_id, body.acts, body.words, pseudonym)
    owner = peer_id(listing.owner)
    if owner == node.identity.peer:
        return (await asyncio.to_thread(node.owner.ask, Asker(owner, pseudonym), message)).states
    states = (await node.network.request(owner, message)).states
    await asyncio.to_thread(node.asked.note, listing, user, body.acts, states, now_ms())
    return states


async def decide(node: Node, id_: str, state: Verdict, more: dict[str, str], days: int = 0) -> RequestView:
    """Grant it for some days, deny or revoke it; NotFound for an unknown id. ``more`` is told whose it was, and what
    for."""
    until = now_ms() + days * limits.DAY if days else 0
    row = await asyncio.to_thread(node.gate.requests.decide, id_, state, now_ms(), until)
    more |= noted.decision(row)
    return _view(node, row)


def _own(node: Node, request: web.Request) -> list[Listing]:
    learnware_id = parse_digest(request.match_info["id"])
    node.dock.get(learnware_id)
    return node.publisher.listed_in(learnware_id)


def _view(node: Node, row: RequestRow) -> RequestView:
    peer, now = peer_id(row.peer), now_ms()
    listing = node.catalogue.listing(row.federation, node.identity.public, row.learnware_id)
    stands = row.state_at(now)
    return RequestView(
        row.id, peer, node.peers.name(peer), row.user, row.federation.hex(), row.learnware_id.hex(),
        listing.semantic.name if listing else "", row.act, row.words, row.asked_at, stands.state, stands.until,
    )  # fmt: skip


ROOT = "/api/v1/learnwares/{id}"
ROUTES = (
    Route("GET", f"{ROOT}/policies", index, "publish", "Its policy in each federation", result=dict[str, Policy]),
    Route(
        "POST", ROOT + "/policies/{federation}/who-can", who_can, "publish", "Who may do what, also by a policy that "
        "is only tried", WhoCanBody, list[Permission],
        optional=True,
    ),
    Route("GET", f"{ROOT}/usage", usage, "publish", "What was done with it", result=list[Use]),
    Route("POST", "/api/v1/catalogue/{id}/requests", ask, "predict", "Ask its owner", AskBody, list[ActState],
          act="learnware.ask",
          reaches=True),
    Route("GET", "/api/v1/requests", requests, "publish", "Requests to this node", result=list[RequestView]),
    Route("POST", "/api/v1/requests/{id}/grant", grant, "publish", "Grant it for some days", GrantBody, RequestView,
          act="request.grant",
          ids=Short, optional=True),
    Route("POST", "/api/v1/requests/{id}/deny", deny, "publish", "Deny it", result=RequestView, act="request.deny",
          ids=Short),
    Route("POST", "/api/v1/requests/{id}/revoke", revoke, "publish", "Take a grant back", result=RequestView,
          act="request.revoke",
          ids=Short),
)  # fmt: skip
