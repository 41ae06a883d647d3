"""The node itself: who it is, whether it lives, what it measures."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import atoll
import msgspec
from aiohttp import web
from atoll.engine.errors import AtollError
from atoll.engine.runtime import rung
from atoll.node.api import auth
from atoll.node.api.described import PLAIN
from atoll.node.api.proxies import loopback
from atoll.node.api.routing import ABOUT, Route, reply
from prometheus_client import CONTENT_TYPE_LATEST

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


async def ready(node: Node, request: web.Request) -> web.Response:
    """503 with the reasons, one a line, where there are any."""
    missing = ["it is about to stop"] if node.stopping.begun else []
    if not node.network.running:
        missing.append("the network is not up")
    try:
        await asyncio.to_thread(node.audit.head)
    except AtollError:
        missing.append("the store cannot be read")
    if missing:
        return web.Response(text="".join(f"{each}\n" for each in missing), status=503, headers={"Retry-After": "5"})
    return web.Response(text="ready\n")


async def metrics(node: Node, request: web.Request) -> web.Response:
    """What is counted, and figures of this moment, in the Prometheus text format."""
    allowed = node.config.http.metrics
    if allowed == "token" or (allowed == "local" and not _from_here(request)):
        await auth.require(request, "read")
    return web.Response(body=await asyncio.to_thread(node.metrics.text), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _from_here(request: web.Request) -> bool:
    """Whether a program on this machine asks for itself: not one that passes on what somebody else asks, as a proxy
    does of which the configuration says nothing."""
    passed_on = any(header in request.headers for header in ("X-Forwarded-For", "Forwarded", "Via"))
    return loopback(request.remote or "") and (request[ABOUT].proxied or not passed_on)


ROUTES = (
    Route("GET", "/healthz", healthy, None, "Whether the process answers", gives=(PLAIN,)),
    Route("GET", "/readyz", ready, None, "Whether the node is ready to serve"),
    Route("GET", "/metrics", metrics, None, "Prometheus metrics", gives=(PLAIN,)),
    Route("GET", "/api/v1/node", show, None, "Who this node is", result=NodeView),
)
