"""The node itself: who it is, whether it lives, what it measures."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import atoll
import msgspec
from aiohttp import web
from atoll.engine.runtime import rung
from atoll.engine.runtime.formats import LEVELS
from atoll.node.api.routing import Route, reply
from atoll.node.clock import now_ms
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

if TYPE_CHECKING:
    from atoll.node.app import Node


class NodeView(msgspec.Struct, frozen=True):
    """Who answers here. ``sandbox`` is the isolation in which models run; ``sandbox_missing`` why it is not strong."""

    peer_id: str
    name: str
    version: str
    addresses: tuple[str, ...]
    learnwares: int
    sandbox: str
    sandbox_layers: tuple[str, ...]
    sandbox_missing: str


async def show(node: Node, request: web.Request) -> web.Response:
    held = await asyncio.to_thread(rung)
    return reply(
        NodeView(
            node.identity.peer, node.config.node.name, atoll.__version__, node.network.addresses,
            len(node.dock.all()), held.level, held.layers, held.missing,
        )
    )  # fmt: skip


async def healthy(node: Node, request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def metrics(node: Node, request: web.Request) -> web.Response:
    """Figures of this moment, in the Prometheus text format."""
    registry = CollectorRegistry()
    figures = {
        "atoll_dock_learnwares": ("Learnwares hosted here", len(node.dock.all())),
        "atoll_catalogue_listings": ("Live listings known", len(node.catalogue.alive(now_ms()))),
        "atoll_peers_live": ("Peers with a federation in common", len(node.peers.live())),
        "atoll_islands": ("Islands known", len(node.catalogue.islands())),
        "atoll_federations": ("Federations joined", len(node.federations.ids())),
    }
    for name, (text, value) in figures.items():
        Gauge(name, text, registry=registry).set(value)
    level = (await asyncio.to_thread(rung)).level
    held = Gauge(
        "atoll_sandbox", "Isolation in which models run: 1 for the rung that holds", ["rung"], registry=registry
    )
    for each in LEVELS:
        held.labels(each).set(each == level)
    return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


ROUTES = (
    Route("GET", "/healthz", healthy, None, "Whether the process answers"),
    Route("GET", "/readyz", healthy, None, "Whether the node is ready to serve"),
    Route("GET", "/metrics", metrics, None, "Prometheus metrics"),
    Route("GET", "/api/v1/node", show, None, "Who this node is", result=NodeView),
)
