"""Islands this node knows; minting one adds a definition, which spreads with the first listing in it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from atoll.engine.errors import IslandError
from atoll.engine.islands import Feature, Island
from atoll.node.api.routing import Route, read_json, reply
from atoll.node.clock import now_ms

if TYPE_CHECKING:
    from atoll.node.app import Node


class IslandView(msgspec.Struct, frozen=True):
    """A definition with its id and how many live listings are in it. Table islands only, so far."""

    kind: str
    dimension: int
    gamma: float
    features: tuple[Feature, ...]
    basis: int = 1
    id: str = ""
    listings: int = 0

    def island(self) -> Island:
        """The island; IslandError unless its hash is the id that is claimed."""
        if self.kind != "table":
            raise IslandError(f"islands of kind {self.kind} cannot be used through this interface yet")
        island = Island("table", self.dimension, self.gamma, self.features, None, self.basis)
        if self.id not in ("", island.id):
            raise IslandError("the island does not hash to its id")
        return island


async def index(node: Node, request: web.Request) -> web.Response:
    """Islands, those with most listings first, then by id."""
    counts = Counter(spec.island for signed in node.catalogue.alive(now_ms()) for spec in signed.listing.specifications)
    islands = sorted(node.catalogue.islands(), key=lambda island: (-counts[island.digest], island.id))
    return reply([view(island, counts[island.digest]) for island in islands])


async def add(node: Node, request: web.Request) -> web.Response:
    island = (await read_json(request, IslandView)).island()
    await asyncio.to_thread(node.catalogue.add_island, island)
    return reply(view(island, 0), status=201)


def view(island: Island, listings: int) -> IslandView:
    return IslandView(island.kind, island.dimension, island.gamma, island.features, island.basis, island.id, listings)


ROUTES = (
    Route("GET", "/api/v1/islands", index, "read", "Specification islands", result=list[IslandView]),
    Route("POST", "/api/v1/islands", add, "publish", "Add an island definition", IslandView, IslandView),
)
