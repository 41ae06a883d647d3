"""Predictions with the mixture of a search."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
from aiohttp import web
from atoll.engine.errors import FeatureMismatch
from atoll.engine.islands import Island, positional_names
from atoll.engine.naming import listed
from atoll.engine.tables import Table
from atoll.node.api.acts import noting
from atoll.node.api.ids import parse_digest
from atoll.node.api.routing import TOKEN, Route, read_json, reply, user_of
from atoll.node.clock import now_ms
from atoll.node.errors import RequestInvalid
from atoll.node.reuse.result import PredictionResult
from atoll.protocol.listings import Listing
from atoll.protocol.predict import MAX_ROWS

if TYPE_CHECKING:
    from atoll.node.app import Node


class PredictionBody(msgspec.Struct, frozen=True):
    """``rows`` in raw units under ``columns`` (empty for a nameless array); ``force`` even if nobody covers them;
    ``send``: rows may leave this node."""

    search_id: str
    rows: tuple[tuple[float, ...], ...]
    columns: tuple[str, ...] = ()
    prefer: Literal["local", "remote"] = "local"
    force: bool = False
    send: bool = False


async def predict(node: Node, request: web.Request) -> web.Response:
    body = await read_json(request, PredictionBody)
    rows = _table(body.rows, body.columns)
    async with _consenting(node, request, body.send, {"search_id": body.search_id}):
        return reply(
            await node.reuser.predict(body.search_id, rows, body.prefer, body.force, user_of(request), body.send)
        )


class RowsBody(msgspec.Struct, frozen=True):
    """As in a prediction with the mixture of a search, for one learnware."""

    rows: tuple[tuple[float, ...], ...]
    columns: tuple[str, ...] = ()
    prefer: Literal["local", "remote"] = "local"
    send: bool = False


def _takes_others(islands: list[Island]) -> FeatureMismatch:
    if islands and not islands[0].names:
        kind = islands[0].kind
        return FeatureMismatch(
            f"the learnware is of {kind}s, and no column of numbers is one of its",
            hint="search by the raw data; or download it, where its owner offers that, and run it yourself",
        )
    names = listed(islands[0].names) if islands else "those of an island that is not here yet"
    return FeatureMismatch(f"the learnware takes other columns: {names}")


async def predict_with(node: Node, request: web.Request) -> web.Response:
    """Predict with one learnware of the catalogue, here or at its owner."""
    body = await read_json(request, RowsBody)
    rows = _table(body.rows, body.columns)
    listing = node.catalogue.find(parse_digest(request.match_info["id"]), now_ms())
    island = island_of(node, listing, rows)
    user = user_of(request)
    async with _consenting(node, request, body.send, dict(request.match_info)):
        return reply(await node.reuser.predict_with(listing, island, rows, body.prefer, user, body.send))


def island_of(node: Node, listing: Listing, rows: Table) -> Island:
    """That of the listing's in which the rows are; FeatureMismatch says which columns it takes."""
    islands = islands_of(node, listing)
    island = next((each for each in islands if each.accepts(rows)), None)
    if island is None:
        raise _takes_others(islands)
    return island


def islands_of(node: Node, listing: Listing) -> list[Island]:
    """Those of a listing that are known here."""
    held = {island.digest: island for island in node.catalogue.islands()}
    islands = [held[spec.island] for spec in listing.specifications if spec.island in held]
    islands.sort(key=lambda each: each.names != positional_names(each.dimension))  # nameless rows are meant by position
    return islands


def _consenting(
    node: Node, request: web.Request, send: bool, subject: dict[str, str]
) -> AbstractAsyncContextManager[object]:
    """That rows may leave this node is an act; a prediction that changes nothing is none."""
    if not send:
        return nullcontext()
    return noting(node.audit, request[TOKEN], "reuse.predict", {**subject, "send": "yes"})


def _table(rows: tuple[tuple[float, ...], ...], columns: tuple[str, ...]) -> Table:
    if not 1 <= len(rows) <= MAX_ROWS or len({len(row) for row in rows}) > 1:
        raise RequestInvalid(f"1 to {MAX_ROWS} rows of one length")
    return Table(np.array(rows, np.float64), columns)


ROUTES = (
    Route(
        "POST", "/api/v1/catalogue/{id}/predictions", predict_with, "predict", "Predict with one learnware",
        RowsBody, PredictionResult,
        reaches=True,
    ),
    Route(
        "POST", "/api/v1/predictions", predict, "predict", "Reuse the mixture of a search on rows",
        PredictionBody, PredictionResult,
        reaches=True,
    ),
)  # fmt: skip
