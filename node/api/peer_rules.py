"""The lists of whom to admit as a peer: what is on them, and changing them with a look at what it does."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from atoll.node.admission import KINDS, Kind, Rules, Surroundings, weigh
from atoll.node.api.routing import Route, read_json, reply
from atoll.node.clock import now_ms
from atoll.node.errors import LockOut, RequestInvalid
from atoll.protocol.errors import NotFound, ProtocolError
from atoll.protocol.ids import peer_id, public_key

if TYPE_CHECKING:
    from atoll.node.app import Node


class RuleView(msgspec.Struct, frozen=True):
    """An entry of the allow or the deny list."""

    kind: Kind
    peer_id: str
    name: str
    since: int


class RuleBody(msgspec.Struct, frozen=True):
    kind: Kind


class DroppedView(msgspec.Struct, frozen=True):
    """A connected peer that is cut off, and how many live listings of the catalogue are its own."""

    peer_id: str
    name: str
    listings: int


class ChangeView(msgspec.Struct, frozen=True):
    """What a change of the lists does, or, unless ``applied``, would do.

    ``stranded``: federations left without a reachable admin. ``objection``: why it takes ``force``, if it does.
    ``admitted``: whether the peer that the rule names may connect after the change.
    """

    admitted: bool
    dropped: tuple[DroppedView, ...]
    stranded: tuple[str, ...]
    objection: str
    applied: bool = False


async def index(node: Node, request: web.Request) -> web.Response:
    rows = node.peers.rules.all()
    return reply([RuleView(row.kind, row.peer, node.peers.name(row.peer), row.since) for row in rows])


async def put(node: Node, request: web.Request) -> web.Response:
    """Put a peer on a list. ``?dry_run=true`` changes nothing, ``?force=true`` overrides a lock-out."""
    peer, kind = _peer(request), (await read_json(request, RuleBody)).kind
    if _flag(request, "dry_run"):
        before = node.peers.rules.current
        return reply(await asyncio.to_thread(_foresee, node, peer, before, before.with_rule(kind, peer)))
    approve = partial(_approve, node, peer, _flag(request, "force"))
    return await _applied(node, await asyncio.to_thread(node.peers.rules.add, kind, peer, now_ms(), approve))


async def delete(node: Node, request: web.Request) -> web.Response:
    """Take a peer off the list that ``?kind=`` names; ``dry_run`` and ``force`` as with PUT."""
    peer, kind = _peer(request), _kind(request)
    before = node.peers.rules.current
    if not before.has_rule(kind, peer):
        raise NotFound(f"{peer} is not on the {kind} list", hint="see `atoll peer rules`")
    if _flag(request, "dry_run"):
        return reply(await asyncio.to_thread(_foresee, node, peer, before, before.without_rule(kind, peer)))
    approve = partial(_approve, node, peer, _flag(request, "force"))
    return await _applied(node, await asyncio.to_thread(node.peers.rules.remove, kind, peer, approve))


def _approve(node: Node, peer: str, force: bool, before: Rules, after: Rules) -> ChangeView:
    change = _foresee(node, peer, before, after)
    if change.objection and not force:
        raise LockOut(change.objection, hint="see with --dry-run what it does; --force does it all the same")
    return change


def _foresee(node: Node, peer: str, before: Rules, after: Rules) -> ChangeView:
    connected = frozenset(each.peer for each in node.peers.all() if each.state in ("connected", "member"))
    admins = {each: frozenset(map(peer_id, node.federations.admins(each))) for each in node.federations.ids()}
    found = weigh(before, after, Surroundings(admins, connected))
    listings = Counter[str](peer_id(listing.owner) for listing in node.catalogue.alive(now_ms()))
    return ChangeView(
        admitted=after.admits(peer),
        dropped=tuple(DroppedView(each, node.peers.name(each), listings[each]) for each in sorted(found.dropped)),
        stranded=tuple(federation.hex() for federation in sorted(found.stranded)),
        objection=found.objection,
    )


async def _applied(node: Node, change: ChangeView) -> web.Response:
    await node.network.enforce_rules()
    return reply(msgspec.structs.replace(change, applied=True))


def _peer(request: web.Request) -> str:
    peer = request.match_info["peer"]
    try:
        public_key(peer)
    except ProtocolError as error:
        raise RequestInvalid(error.message, hint="copy it from `atoll peer list`") from None
    return peer


def _kind(request: web.Request) -> Kind:
    for kind in KINDS:
        if request.query.get("kind") == kind:
            return kind
    raise RequestInvalid("?kind= is allow or deny")


def _flag(request: web.Request, name: str) -> bool:
    value = request.query.get(name, "false")
    if value not in ("true", "false"):
        raise RequestInvalid(f"?{name}= is true or false")
    return value == "true"


NOTED = ("kind", "dry_run", "force")
ROUTES = (
    Route("GET", "/api/v1/peers/rules", index, "read", "Whom the lists admit and deny", result=list[RuleView]),
    Route("PUT", "/api/v1/peers/rules/{peer}", put, "admin", "Put a peer on a list", RuleBody, ChangeView,
          act="peer_rule.add", noted=NOTED),
    Route("DELETE", "/api/v1/peers/rules/{peer}", delete, "admin", "Take a peer off a list", result=ChangeView,
          act="peer_rule.remove", noted=NOTED),
)  # fmt: skip
