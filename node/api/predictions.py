"""Predictions with the mixture of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
from aiohttp import web
from atoll.engine.tables import Table
from atoll.node.api.routing import Route, read_json, reply, user_of
from atoll.node.errors import RequestInvalid
from atoll.node.reuse.result import PredictionResult
from atoll.protocol.predict import MAX_ROWS

if TYPE_CHECKING:
    from atoll.node.app import Node


class PredictionBody(msgspec.Struct, frozen=True):
    """``rows`` in raw units under ``columns`` (empty for a nameless array); ``force`` even if nobody covers them."""

    search_id: str
    rows: tuple[tuple[float, ...], ...]
    columns: tuple[str, ...] = ()
    prefer: Literal["local", "remote"] = "local"
    force: bool = False


async def predict(node: Node, request: web.Request) -> web.Response:
    body = await read_json(request, PredictionBody)
    if not 1 <= len(body.rows) <= MAX_ROWS or len({len(row) for row in body.rows}) > 1:
        raise RequestInvalid(f"1 to {MAX_ROWS} rows of one length")
    rows = Table(np.array(body.rows, np.float64), body.columns)
    return reply(await node.reuser.predict(body.search_id, rows, body.prefer, body.force, user_of(request)))


ROUTES = (
    Route(
        "POST", "/api/v1/predictions", predict, "predict", "Reuse the mixture of a search on rows",
        PredictionBody, PredictionResult,
    ),
)  # fmt: skip
