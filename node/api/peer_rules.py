"""The lists of whom to admit as a peer: what is on them, and changing them with a look at what it does."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec
from aiohttp import web
from atoll.node.admission import KINDS, Kind, Rules, Surroundings, weigh
from atoll.node.api.described import Field, Yes
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


class RuleChange(NamedTuple):
    """A peer put on a list, or taken off it."""

    act: Literal["add", "remove"]
    kind: Kind
    peer: str

    def after(self, before: Rules) -> Rules:
        change = before.with_rule if self.act == "add" else before.without_rule
        return change(self.kind, self.peer)


async def index(node: Node, request: web.Request) -> web.Response:
    return reply(rule_views(node))


def rule_views(node: Node) -> list[RuleView]:
    """Both lists, by kind and age."""
    rows = node.peers.rules.all()
    return [RuleView(row.kind, row.peer, node.peers.name(row.peer), row.since) for row in rows]


async def put(node: Node, request: web.Request) -> web.Response:
    """Put a peer on a list. ``?dry_run=true`` changes nothing, ``?force=true`` overrides a lock-out."""
    rule = RuleChange("add", (await read_json(request, RuleBody)).kind, _peer(request))
    return await _answer(node, request, rule)


async def delete(node: Node, request: web.Request) -> web.Response:
    """Take a peer off the list that ``?kind=`` names; ``dry_run`` and ``force`` as with PUT."""
    return await _answer(node, request, RuleChange("remove", _kind(request), _peer(request)))


async def foresee(node: Node, rule: RuleChange) -> ChangeView:
    """What the change would do; nothing is changed. NotFound if it removes what is not there."""
    _require_there(node, rule)
    before = node.peers.rules.current
    return await asyncio.to_thread(_foresee, node, rule.peer, before, rule.after(before))


async def apply(node: Node, rule: RuleChange, *, force: bool) -> ChangeView:
    """Change the list and cut off whom it no longer admits. LockOut for what only ``force`` does; NotFound as above."""
    _require_there(node, rule)
    approve, rules = partial(_approve, node, rule.peer, force), node.peers.rules
    add = partial(rules.add, rule.kind, rule.peer, now_ms(), approve)
    remove = partial(rules.remove, rule.kind, rule.peer, approve)
    change = await asyncio.to_thread(add if rule.act == "add" else remove)
    await node.network.enforce_rules()
    node.peers.ruled(rule.peer)
    return msgspec.structs.replace(change, applied=True)


async def _answer(node: Node, request: web.Request, rule: RuleChange) -> web.Response:
    if _flag(request, "dry_run"):
        return reply(await foresee(node, rule))
    return reply(await apply(node, rule, force=_flag(request, "force")))


def _require_there(node: Node, rule: RuleChange) -> None:
    if rule.act == "remove" and not node.peers.rules.current.has_rule(rule.kind, rule.peer):
        raise NotFound(f"{rule.peer} is not on the {rule.kind} list", hint="see `atoll peer rules`")


def _approve(node: Node, peer: str, force: bool, before: Rules, after: Rules) -> ChangeView:
    change = _foresee(node, peer, before, after)
    if change.objection and not force:
        raise LockOut(change.objection, hint="a dry run shows what it does; by force it is done all the same")
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
RULE = (
    Field("kind", Kind, "the list", required=True),
    Field("dry_run", Yes, "only say what it would do"),
    Field("force", Yes, "even if a federation is left without an admitted admin"),
)
ROUTES = (
    Route("GET", "/api/v1/peers/rules", index, "read", "Whom the lists admit and deny", result=list[RuleView]),
    Route("PUT", "/api/v1/peers/rules/{peer}", put, "admin", "Put a peer on a list", RuleBody, ChangeView,
          act="peer_rule.add", noted=NOTED),
    Route("DELETE", "/api/v1/peers/rules/{peer}", delete, "admin", "Take a peer off a list", result=ChangeView,
          act="peer_rule.remove", noted=NOTED,
          query=RULE),
)  # fmt: skip
