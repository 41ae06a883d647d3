"""Peers this node knows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from atoll.node.api.routing import Route, read_json, reply
from atoll.node.p2p.peers import PeerState
from atoll.protocol.errors import NotFound

if TYPE_CHECKING:
    from atoll.node.app import Node


class PeerView(msgspec.Struct, frozen=True):
    """A peer as shown to people: ``state`` is known, connected, member or unreachable; ``why`` says more."""

    peer_id: str
    name: str
    state: str
    why: str
    addresses: tuple[str, ...]
    federations: int
    last_seen: int
    misbehaved: int


class PeerBody(msgspec.Struct, frozen=True):
    """``address`` is a multiaddr that ends in /p2p/<peer id>."""

    address: str


async def index(node: Node, request: web.Request) -> web.Response:
    return reply([_view(state) for state in node.peers.all()])


async def add(node: Node, request: web.Request) -> web.Response:
    """Dial an address; it is remembered if the peer answers."""
    peer = await node.network.dial((await read_json(request, PeerBody)).address)
    return reply(next(_view(state) for state in node.peers.all() if state.peer == peer), status=201)


async def remove(node: Node, request: web.Request) -> web.Response:
    peer = request.match_info["peer"]
    if not await asyncio.to_thread(node.peers.forget, peer):
        raise NotFound(f"no peer {peer[:80]} is known")
    await node.network.disconnect(peer)
    return web.Response(status=204)


def _view(state: PeerState) -> PeerView:
    return PeerView(
        state.peer, state.name, state.state, state.why, state.addresses, len(state.shared), state.last_seen,
        state.misbehaved,
    )  # fmt: skip


ROUTES = (
    Route("GET", "/api/v1/peers", index, "read", "Known peers and their state", result=list[PeerView]),
    Route("POST", "/api/v1/peers", add, "admin", "Dial a peer", PeerBody, PeerView),
    Route("DELETE", "/api/v1/peers/{peer}", remove, "admin", "Forget a peer"),
)
