"""Islands this node knows; minting one adds a definition, which spreads with the first listing in it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import msgspec
from aiohttp import web
from atoll.engine.errors import IslandError
from atoll.engine.islands import Encoder, Feature, Island
from atoll.node.api.routing import Route, read_json, reply
from atoll.node.clock import now_ms
from atoll.protocol.listings import Listing

if TYPE_CHECKING:
    from atoll.node.app import Node


class EncoderView(msgspec.Struct, frozen=True):
    """The fixed map of an image or text island; ``sha256`` in hex."""

    name: str
    version: str
    sha256: str


class IslandView(msgspec.Struct, frozen=True):
    """A definition with its id and how many live listings are in it."""

    kind: Literal["table", "image", "text"]
    dimension: int
    gamma: float
    features: tuple[Feature, ...]
    basis: int = 1
    id: str = ""
    listings: int = 0
    encoder: EncoderView | None = None

    def island(self) -> Island:
        """The island; IslandError unless its hash is the id that is claimed."""
        island = Island(self.kind, self.dimension, self.gamma, self.features, self._encoder(), self.basis)
        if self.id not in ("", island.id):
            raise IslandError("the island does not hash to its id")
        return island

    def _encoder(self) -> Encoder | None:
        if self.encoder is None:
            return None
        try:
            digest = bytes.fromhex(self.encoder.sha256)
        except ValueError:
            raise IslandError(f"{self.encoder.sha256[:80]!r} is not a SHA-256 in hex") from None
        return Encoder(self.encoder.name, self.encoder.version, digest)


async def index(node: Node, request: web.Request) -> web.Response:
    """Islands, those with most listings first, then by id."""
    used = await asyncio.to_thread(lambda: by_use(node, node.catalogue.alive(now_ms())))
    return reply([view(island, listings) for island, listings in used.items()])


def by_use(node: Node, listings: Iterable[Listing]) -> dict[Island, int]:
    """All islands that are known here, with how many of the ``listings`` are in each: most first, then by id."""
    counts = Counter(spec.island for each in listings for spec in each.specifications)
    known = sorted(node.catalogue.islands(), key=lambda island: (-counts[island.digest], island.id))
    return {island: counts[island.digest] for island in known}


def known_islands(node: Node) -> list[Island]:
    """Those in which most is listed first: of several that suit, others are most likely in the first. Blocking."""
    return list(by_use(node, node.catalogue.alive(now_ms())))


async def add(node: Node, request: web.Request) -> web.Response:
    island = (await read_json(request, IslandView)).island()
    await asyncio.to_thread(node.catalogue.add_island, island)
    return reply(view(island, 0), status=201)


def view(island: Island, listings: int) -> IslandView:
    encoder = None
    if island.encoder is not None:
        encoder = EncoderView(island.encoder.name, island.encoder.version, island.encoder.sha256.hex())
    return IslandView(
        island.kind, island.dimension, island.gamma, island.features, island.basis, island.id, listings, encoder
    )


ROUTES = (
    Route("GET", "/api/v1/islands", index, "read", "Specification islands", result=list[IslandView]),
    Route(
        "POST", "/api/v1/islands", add, "publish", "Add an island definition", IslandView, IslandView,
        act="island.add", noted=("id", "kind"),
        status=201,
    ),
)  # fmt: skip
