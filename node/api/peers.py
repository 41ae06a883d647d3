"""Peers this node knows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from atoll.node.api.routing import Route, read_json, reply
from atoll.node.errors import RequestInvalid
from atoll.node.p2p.table import PeerState, Standing
from atoll.protocol.errors import NotFound, ProtocolError
from atoll.protocol.peers import peer_of

if TYPE_CHECKING:
    from atoll.node.app import Node


class LagView(msgspec.Struct, frozen=True):
    """At ``at`` the peer lacked the newest of ``behind`` owners' logs, and had newer ones of ``ahead`` owners."""

    federation: str
    behind: int
    ahead: int
    at: int


class PeerView(msgspec.Struct, frozen=True):
    """A peer as shown to people; ``why`` says why it was dropped, refused or denied.

    ``member``: connected, with ``federations`` proven in common; ``refused``: the hello found that one will not have
    the other; ``denied``: by a rule of this node. Bytes are those of Atoll's streams in this run of the node, gossip
    not counted. ``next_dial`` is 0 if nothing speaks against dialling. ``clock_ahead`` is by how many ms its clock was
    ahead of ours at its last hello, as it says.
    """

    peer_id: str
    name: str
    state: Standing
    why: str
    addresses: tuple[str, ...]
    federations: int
    last_seen: int
    next_dial: int
    failures: int
    bytes_in: int
    bytes_out: int
    misbehaved: int
    lags: tuple[LagView, ...]
    clock_ahead: int | None = None


class PeerBody(msgspec.Struct, frozen=True):
    """``address`` is a multiaddr that ends in /p2p/<peer id>."""

    address: str


async def index(node: Node, request: web.Request) -> web.Response:
    return reply([peer_view(state) for state in node.peers.all()])


async def add(node: Node, request: web.Request) -> web.Response:
    """Dial an address; it is remembered if the peer answers."""
    return reply(await dial(node, (await read_json(request, PeerBody)).address), status=201)


async def remove(node: Node, request: web.Request) -> web.Response:
    await forget(node, request.match_info["peer"])
    return web.Response(status=204)


async def dial(node: Node, address: str) -> PeerView:
    """Connect to a multiaddr; RequestInvalid for what is none, and whatever keeps the two apart."""
    try:
        peer_of(address)
    except ProtocolError as error:
        raise RequestInvalid(error.message, hint=error.hint) from None
    state = node.peers.get(await node.network.dial(address))
    if state is None:
        raise NotFound("the peer answered, but there is no room for it", hint="forget others with `atoll peer rm`")
    return peer_view(state)


async def forget(node: Node, peer: str) -> None:
    """Disconnect a peer and know it no more; NotFound if it is not known."""
    if not await asyncio.to_thread(node.peers.forget, peer):
        raise NotFound(f"no peer {peer[:80]} is known")
    await node.network.disconnect(peer)


def peer_view(state: PeerState) -> PeerView:
    lags = (LagView(federation.hex(), *msgspec.structs.astuple(lag)) for federation, lag in sorted(state.lags.items()))
    return PeerView(
        state.peer, state.name, state.state, state.why, state.places, len(state.shared), state.last_seen,
        state.next_dial, state.failures, state.bytes_in, state.bytes_out, state.misbehaved, tuple(lags),
        state.ahead,
    )  # fmt: skip


ROUTES = (
    Route("GET", "/api/v1/peers", index, "read", "Known peers and their state", result=list[PeerView]),
    Route(
        "POST", "/api/v1/peers", add, "admin", "Dial a peer", PeerBody, PeerView, act="peer.add", noted=("address",),
        status=201, reaches=True,
    ),
    Route("DELETE", "/api/v1/peers/{peer}", remove, "admin", "Forget a peer", act="peer.remove", status=204),
)  # fmt: skip
