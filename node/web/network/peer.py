"""One peer, with all that is known of it, and forgetting it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web
from atoll.node.api import peers
from atoll.node.clock import now_ms
from atoll.node.language import later
from atoll.node.p2p.table import Lag
from atoll.node.web.answers import html
from atoll.node.web.network.around import WORDS, Line, lag_words, lines, plain
from atoll.node.web.page import Page
from atoll.node.web.paging import paged
from atoll.node.web.visit import Visit
from atoll.protocol.errors import NotFound, ProtocolError
from atoll.protocol.ids import public_key
from atoll.protocol.listings import Listing
from atoll.protocol.membership import Certificate

if TYPE_CHECKING:
    from atoll.node.app import Node

LISTED = 50
SAID = {"ruled": later("The list is changed.")}


class Membership(NamedTuple):
    """A peer in one federation of this node: its certificate there, None if it has proven itself with one that this
    node holds no more."""

    id: str
    name: str
    certificate: Certificate | None
    admin: bool
    listings: int
    hidden: str
    lag: Lag | None


async def show(visit: Visit) -> web.Response:
    key = key_of(visit)
    node, peer, now = visit.node, visit.request.match_info["peer"], now_ms()
    if peer == node.identity.peer:
        raise web.HTTPSeeOther("/network")
    line = await asyncio.to_thread(line_of, node, peer, await node.network.relayed())
    if line is None:
        raise NotFound("this node knows no such peer", hint="see the page of the network")
    shown, paging = paged(await asyncio.to_thread(_listed, node, key, now), visit.request, LISTED)
    return await html(
        visit, "network/peer.html", line=line, states=WORDS, listed=shown, paging=paging,
        charters={each.id: plain(each.charter.name) for each in node.federations.all()},
        memberships=await asyncio.to_thread(_memberships, node, key, line, now),
        rules=[rule for rule in node.peers.rules.all() if rule.peer == peer], now=now,
        lag_words=lag_words, said=visit.said(SAID),
    )  # fmt: skip


async def ask_forget(visit: Visit) -> web.Response:
    """Say what forgetting does, before it is done."""
    key_of(visit)
    peer = visit.request.match_info["peer"]
    line = await asyncio.to_thread(line_of, visit.node, peer, frozenset())
    if line is None or line.known is None:
        raise NotFound("this node knows no such peer", hint="see the page of the network")
    return await html(visit, "network/forget.html", line=line)


async def forget(visit: Visit) -> web.Response:
    await visit.fields()
    peer = visit.request.match_info["peer"]
    async with visit.noting("peer.remove", peer=peer):
        await peers.forget(visit.node, peer)
    raise web.HTTPSeeOther("/network?said=forgotten")


def key_of(visit: Visit) -> bytes:
    """The key in the id of the peer that the path names; NotFound for what is no id."""
    try:
        return public_key(visit.request.match_info["peer"])
    except ProtocolError:
        raise NotFound("that is not the id of a peer", hint="see the page of the network") from None


def line_of(node: Node, peer: str, relayed: frozenset[str]) -> Line | None:
    return next((line for line in lines(node, relayed, now_ms()) if line.peer == peer), None)


def _listed(node: Node, key: bytes, now: int) -> list[Listing]:
    """What the peer lists, by name."""
    found = [each for each in node.catalogue.alive(now) if each.owner == key]
    return sorted(found, key=lambda each: (each.semantic.name.casefold(), each.learnware_id))


def _memberships(node: Node, key: bytes, line: Line, now: int) -> list[Membership]:
    found = []
    for each in line.common:
        federation = bytes.fromhex(each.id)
        members = {member.member: member for member in node.federations.members(federation, now)}
        listings = len(node.catalogue.of_owner(federation, key))
        hidden = node.catalogue.hidden(federation, key, now) if listings else ""
        admin = key in node.federations.admins(federation)
        found.append(Membership(each.id, each.name, members.get(key), admin, listings, hidden, each.lag))
    return found


PAGES = (
    Page("GET", "/network/peers/{peer}", show, "read"),
    Page("GET", "/network/peers/{peer}/forget", ask_forget, "admin"),
    Page("POST", "/network/peers/{peer}/forget", forget, "admin"),
)
