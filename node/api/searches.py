"""Searches: whole as JSON, or streamed as NDJSON by ``Accept: application/x-ndjson``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
from aiohttp import web
from atoll.engine.errors import DimensionMismatch
from atoll.engine.semantic import SemanticQuery
from atoll.engine.specs.rkme import Rkme
from atoll.node.api.routing import Route, read_json, reply, user_of
from atoll.node.errors import RequestInvalid
from atoll.node.search.query import SearchQuery, SearchResult, SpecificationQuery
from atoll.protocol.ids import parse_digest

if TYPE_CHECKING:
    from atoll.node.app import Node

NDJSON = "application/x-ndjson"
MAX_DEADLINE_MS = 60_000


class RkmeBody(msgspec.Struct, frozen=True):
    """An RKME in JSON: ``points`` (m, d) in island units, ``weights`` (m,)."""

    points: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    gamma: float
    count: int

    def rkme(self) -> Rkme:
        if len({len(point) for point in self.points}) > 1:
            raise DimensionMismatch("the points of the specification differ in dimension")
        with np.errstate(over="ignore"):  # what overflows becomes infinite, and is refused as that
            points, weights = np.array(self.points, np.float32), np.array(self.weights, np.float32)
        return Rkme(points, weights, self.gamma, self.count)


class SpecificationBody(msgspec.Struct, frozen=True):
    island: str
    rkme: RkmeBody


class SearchBody(msgspec.Struct, frozen=True):
    """By specification, by words and tags, or both."""

    specifications: tuple[SpecificationBody, ...] = ()
    semantic: SemanticQuery = SemanticQuery()
    limit: int = 10
    deadline_ms: int | None = None
    privacy: Literal["local", "rkme"] = "rkme"


class Event(msgspec.Struct, frozen=True):
    """One line of the stream: hit, peer_done, peer_failed, and last end with the whole answer."""

    event: str
    data: object


async def search(node: Node, request: web.Request) -> web.StreamResponse:
    query = _query(node, await read_json(request, SearchBody), user_of(request))
    if NDJSON not in request.headers.get("Accept", ""):
        return reply(await node.searcher.search(query, _ignore))
    stream = web.StreamResponse(headers={"Content-Type": NDJSON, "Cache-Control": "no-store"})
    await stream.prepare(request)

    async def emit(event: str, data: object) -> None:
        await stream.write(msgspec.json.encode(Event(event, data)) + b"\n")

    await emit("end", await node.searcher.search(query, emit))
    await stream.write_eof()
    return stream


async def _ignore(event: str, data: object) -> None:
    """The whole answer says it all."""


def _query(node: Node, body: SearchBody, user: str) -> SearchQuery:
    deadline = node.config.search.deadline_ms if body.deadline_ms is None else body.deadline_ms
    if not 1 <= body.limit <= 100 or not 1 <= deadline <= MAX_DEADLINE_MS or len(body.specifications) > 8:
        raise RequestInvalid(f"limit 1-100, deadline 1-{MAX_DEADLINE_MS} ms and at most 8 specifications")
    specifications = []
    for given in body.specifications:
        digest, rkme = parse_digest(given.island), given.rkme.rkme()
        island = node.catalogue.island(digest)
        if not rkme.comparable(island):
            raise DimensionMismatch(
                f"the specification ({rkme.dimension} dimensions, gamma {rkme.gamma:g}) is not of its island "
                f"({island.dimension} dimensions, gamma {island.gamma:g})"
            )
        specifications.append(SpecificationQuery(digest, rkme))
    return SearchQuery(tuple(specifications), body.semantic, body.limit, deadline, body.privacy, user)


ROUTES = (Route("POST", "/api/v1/searches", search, "read", "Search the network", SearchBody, SearchResult),)
