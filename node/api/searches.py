"""Searches: whole as JSON, or streamed by ``Accept``, as NDJSON or server-sent events; a stream that broke goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
from aiohttp import web
from atoll.engine.errors import DimensionMismatch
from atoll.engine.semantic import SemanticQuery
from atoll.engine.specs.noised import NoisedSketch, Specification
from atoll.engine.specs.rkme import Rkme
from atoll.node.api.described import EVENTS, LAST_EVENT, LINES, Session
from atoll.node.api.ids import parse_digest
from atoll.node.api.routing import Route, read_json, reply, user_of
from atoll.node.api.streaming import follow, last_event, sse, writer_of
from atoll.node.errors import RequestInvalid
from atoll.node.search.query import MAX_ISLANDS, Filters, Privacy, SearchQuery, SearchResult, SpecificationQuery
from atoll.node.telling import Event

if TYPE_CHECKING:
    from atoll.node.app import Node

MAX_DEADLINE_MS = 60_000


class RkmeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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


class SpecificationBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ``rkme``, or in its place a sketch under differential privacy, as specification files hold it (in JSON
    base64): then nobody but the user has more of the data."""

    island: str
    rkme: RkmeBody | None = None
    noised: bytes | None = None

    def given(self) -> Specification:
        if self.rkme is not None and self.noised is None:
            return self.rkme.rkme()
        if self.noised is not None and self.rkme is None:
            return NoisedSketch.from_bytes(self.noised)
        raise RequestInvalid("a specification is either an RKME or a noised sketch")


class SearchBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """By specification, by words, tags and filters, or by all of it."""

    specifications: tuple[SpecificationBody, ...] = ()
    semantic: SemanticQuery = SemanticQuery()
    limit: int = 10
    deadline_ms: int | None = None
    privacy: Privacy = "rkme"
    filters: Filters = Filters()


async def search(node: Node, request: web.Request) -> web.StreamResponse:
    running = node.searcher.start(_query(node, await read_json(request, SearchBody), user_of(request)))
    writer = writer_of(request)
    return reply(await running.answer()) if writer is None else await follow(request, running, writer)


async def result(node: Node, request: web.Request) -> web.Response:
    return reply(await node.searcher.running(request.match_info["id"], user_of(request)).answer())


async def events(node: Node, request: web.Request) -> web.StreamResponse:
    running = node.searcher.running(request.match_info["id"], user_of(request))
    return await follow(request, running, writer_of(request) or sse, last_event(request))


def _query(node: Node, body: SearchBody, user: str) -> SearchQuery:
    deadline = node.config.search.deadline_ms if body.deadline_ms is None else body.deadline_ms
    if not 1 <= body.limit <= 100 or not 1 <= deadline <= MAX_DEADLINE_MS or len(body.specifications) > MAX_ISLANDS:
        raise RequestInvalid(f"limit 1-100, deadline 1-{MAX_DEADLINE_MS} ms and at most {MAX_ISLANDS} specifications")
    if body.specifications and "paused" in body.filters.state:
        raise RequestInvalid("what is paused is not matched with data", hint="search for it by words, tags and filters")
    specifications, privacy = [], body.privacy
    for each in body.specifications:
        digest, given = parse_digest(each.island), each.given()
        island = node.catalogue.island(digest)
        if isinstance(given, NoisedSketch):
            privacy = "sketch" if privacy == "rkme" else privacy  # there is nothing else to send
        elif not given.comparable(island):
            raise DimensionMismatch(
                f"the specification ({given.dimension} dimensions, gamma {given.gamma:g}) is not of its island "
                f"({island.dimension} dimensions, gamma {island.gamma:g})"
            )
        specifications.append(SpecificationQuery(digest, given))
    return SearchQuery(tuple(specifications), body.semantic, body.filters, body.limit, deadline, privacy, user)


ROUTES = (
    Route(
        "POST", "/api/v1/searches", search, "read", "Search the network", SearchBody, SearchResult, anonymous=True,
        gives=(EVENTS, LINES),
    ),
    Route(
        "GET", "/api/v1/searches/{id}", result, "read", "The newest answer of a search", None, SearchResult,
        anonymous=True,
        ids=Session,
    ),
    Route(
        "GET", "/api/v1/searches/{id}/events", events, "read", "Follow a search, after Last-Event-ID", None, Event,
        anonymous=True,
        ids=Session, headers=(LAST_EVENT,), gives=(EVENTS, LINES),
    ),
)  # fmt: skip
