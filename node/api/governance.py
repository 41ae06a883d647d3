"""What admins decide about a federation, and what is in force: revocations, takedowns, admins, quarantine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from atoll.node.api.ids import parse_digest, public_key
from atoll.node.api.routing import Route, read_json, reply
from atoll.node.clock import now_ms
from atoll.protocol.ids import peer_id
from atoll.protocol.sync import Notice

if TYPE_CHECKING:
    from atoll.node.app import Node


class RevocationView(msgspec.Struct, frozen=True):
    """Certificates of ``peer_id`` up to ``until`` (ms) are void."""

    peer_id: str
    until: int


class TakedownView(msgspec.Struct, frozen=True):
    """A learnware that is not shown in the federation; ``owner`` is a PeerId."""

    owner: str
    learnware_id: str


class GovernanceView(msgspec.Struct, frozen=True):
    """What is in force, as this node knows it. ``quarantined`` owners have signed two histories."""

    founders: tuple[str, ...]
    admins: tuple[str, ...]
    revoked: tuple[RevocationView, ...]
    takedowns: tuple[TakedownView, ...]
    quarantined: tuple[str, ...]


class RootView(msgspec.Struct, frozen=True):
    """``root`` (hex) is a hash over all ``listings`` that may be seen."""

    root: str
    listings: int


class PeerBody(msgspec.Struct, frozen=True):
    peer_id: str


async def show(node: Node, request: web.Request) -> web.Response:
    return reply(await asyncio.to_thread(governance_view, node, parse_digest(request.match_info["id"])))


async def root(node: Node, request: web.Request) -> web.Response:
    """One hash over the whole catalogue of the federation: nodes that are level answer the same."""
    return reply(await asyncio.to_thread(root_view, node, parse_digest(request.match_info["id"])))


async def revoke(node: Node, request: web.Request) -> web.Response:
    """End a membership: within a minute nobody serves the member any more, and its listings leave."""
    return await _by_peer(node, request, node.administration.revoke)


async def appoint(node: Node, request: web.Request) -> web.Response:
    """Make a member an admin: it may invite, revoke and take down."""
    return await _by_peer(node, request, node.administration.appoint)


async def dismiss(node: Node, request: web.Request) -> web.Response:
    return await _by_peer(node, request, node.administration.dismiss)


async def take_down(node: Node, request: web.Request) -> web.Response:
    """Hide one learnware from the whole federation."""
    return await _decree(node, request, partial(node.administration.take_down, *_learnware(request)))


async def put_back(node: Node, request: web.Request) -> web.Response:
    return await _decree(node, request, partial(node.administration.put_back, *_learnware(request)))


async def pardon(node: Node, request: web.Request) -> web.Response:
    """Show the listings of an owner again that has signed two histories; at this node only."""
    federation = parse_digest(request.match_info["id"])
    await asyncio.to_thread(node.catalogue.pardon, federation, public_key(request.match_info["peer"]))
    return reply(await asyncio.to_thread(governance_view, node, federation))


async def _by_peer(node: Node, request: web.Request, act: Callable[[bytes, bytes, int], Notice]) -> web.Response:
    federation = parse_digest(request.match_info["id"])
    peer = request.match_info.get("peer") or (await read_json(request, PeerBody)).peer_id
    return await _decree(node, request, partial(act, federation, public_key(peer)))


async def _decree(node: Node, request: web.Request, act: Callable[[int], Notice]) -> web.Response:
    await decree(node, act)
    return reply(await asyncio.to_thread(governance_view, node, parse_digest(request.match_info["id"])))


async def decree(node: Node, act: Callable[[int], Notice]) -> None:
    """Have an act of the administration, which takes the time, signed and kept, and tell it to the federation."""
    await node.network.announce(await asyncio.to_thread(act, now_ms()))


def _learnware(request: web.Request) -> tuple[bytes, bytes, bytes]:
    parts = request.match_info
    return parse_digest(parts["id"]), public_key(parts["peer"]), parse_digest(parts["learnware"])


def root_view(node: Node, federation: bytes) -> RootView:
    """The hash over a federation's catalogue; takes its time: call it in a thread."""
    found, listings = node.catalogue.root(federation, now_ms())
    return RootView(found.hex(), listings)


def governance_view(node: Node, federation: bytes) -> GovernanceView:
    """What is in force in a federation; NotFound unless this node is in it."""
    founders = node.federations.get(federation).charter.admins
    force = node.federations.authority(federation)
    return GovernanceView(
        tuple(map(peer_id, sorted(founders))),
        tuple(map(peer_id, sorted(force.admins))),
        tuple(RevocationView(peer_id(member), until) for member, until in sorted(force.revoked.items())),
        tuple(TakedownView(peer_id(owner), id_.hex()) for owner, id_ in sorted(force.takedowns)),
        tuple(map(peer_id, sorted(node.catalogue.quarantined(federation)))),
    )


ROOT = "/api/v1/federations/{id}"
ROUTES = (
    Route("GET", f"{ROOT}/governance", show, "read", "What admins have decided", result=GovernanceView),
    Route("GET", f"{ROOT}/root", root, "read", "A hash over its catalogue", result=RootView),
    Route(
        "POST", f"{ROOT}/revocations", revoke, "admin", "Revoke a membership", PeerBody, GovernanceView,
        act="federation.revoke", noted=("peer_id",),
    ),
    Route(
        "POST", f"{ROOT}/admins", appoint, "admin", "Appoint an admin", PeerBody, GovernanceView,
        act="federation.appoint", noted=("peer_id",),
    ),
    Route(
        "DELETE", ROOT + "/admins/{peer}", dismiss, "admin", "Dismiss an admin", result=GovernanceView,
        act="federation.dismiss",
    ),
    Route(
        "PUT", ROOT + "/takedowns/{peer}/{learnware}", take_down, "admin", "Take a learnware down",
        result=GovernanceView, act="federation.takedown",
    ),
    Route(
        "DELETE", ROOT + "/takedowns/{peer}/{learnware}", put_back, "admin", "Take a takedown back",
        result=GovernanceView, act="federation.putback",
    ),
    Route(
        "DELETE", ROOT + "/quarantine/{peer}", pardon, "admin", "Pardon an owner that has forked",
        result=GovernanceView, act="federation.pardon",
    ),
)  # fmt: skip
