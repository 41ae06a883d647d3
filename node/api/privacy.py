"""The ledger of differential privacy: budgets are asked for here before a noised sketch is made."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from atoll.node.api.ids import parse_digest
from atoll.node.api.routing import Route, read_json, reply, user_of
from atoll.node.clock import now_ms
from atoll.node.store.ledger import LedgerRow, Spending

if TYPE_CHECKING:
    from atoll.node.app import Node


class SpendingBody(msgspec.Struct, frozen=True):
    """``digest`` (hex) is the SHA-256 of the rows in the units of ``island`` (hex); the rows themselves stay away."""

    dataset: str
    digest: str
    island: str
    rows: int
    epsilon: float
    delta: float


class QueryBudgetBody(msgspec.Struct, frozen=True):
    """As SpendingBody, for a search: the budgets of all searches with one token add up."""

    digest: str
    island: str
    rows: int
    epsilon: float
    delta: float


class GrantView(msgspec.Struct, frozen=True):
    """``secret`` (hex) is what the noise is made from: whoever has it can take the noise off."""

    secret: str


class SpendingView(msgspec.Struct, frozen=True):
    """One spending, without its secret."""

    dataset: str
    digest: str
    island: str
    rows: int
    epsilon: float
    delta: float
    spent_at: int


async def index(node: Node, request: web.Request) -> web.Response:
    return reply([_view(row) for row in await asyncio.to_thread(node.ledger.entries)])


async def spend(node: Node, request: web.Request) -> web.Response:
    """Enter a budget in the ledger, or find it there; the same request gives the same secret and costs nothing."""
    body = await read_json(request, SpendingBody)
    spending = Spending(
        body.dataset, parse_digest(body.digest), parse_digest(body.island), body.rows, body.epsilon, body.delta
    )
    return await _granted(node, spending)


async def spend_on_search(node: Node, request: web.Request) -> web.Response:
    """As :func:`spend`, in the name of the token."""
    body = await read_json(request, QueryBudgetBody)
    digests = parse_digest(body.digest), parse_digest(body.island)
    return await _granted(
        node, Spending(f"searches with token {user_of(request)}", *digests, body.rows, body.epsilon, body.delta)
    )


async def _granted(node: Node, spending: Spending) -> web.Response:
    row = await asyncio.to_thread(node.ledger.spend, spending, now_ms())
    return reply(GrantView(row.secret.hex()))


def _view(row: LedgerRow) -> SpendingView:
    spent = row.spending
    return SpendingView(
        spent.dataset, spent.digest.hex(), spent.island.hex(), spent.rows, spent.epsilon, spent.delta, row.spent_at
    )


ROUTES = (
    Route("GET", "/api/v1/privacy/spendings", index, "publish", "The ledger", result=list[SpendingView]),
    Route(
        "POST", "/api/v1/privacy/spendings", spend, "publish", "Enter a budget", SpendingBody, GrantView,
        act="privacy.spend", noted=("dataset", "island"),
    ),
    Route(
        "POST", "/api/v1/searches/budgets", spend_on_search, "read", "Enter a budget of a search", QueryBudgetBody,
        GrantView, act="search.spend", noted=("island",),
    ),
)  # fmt: skip
