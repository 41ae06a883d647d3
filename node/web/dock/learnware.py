"""The page of one learnware of the dock: where it stands, what was done with it, what its specification gives away."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web
from atoll.engine.packages.manifest import SpecEntry
from atoll.node.acceptance.submissions import SubmissionRow
from atoll.node.clock import now_ms
from atoll.node.policy.usage import Use
from atoll.node.store.federations import Federation
from atoll.node.store.ledger import LedgerRow
from atoll.node.web.answers import html
from atoll.node.web.dock import words
from atoll.node.web.dock.acts import own
from atoll.node.web.dock.figures import Chart, chart, first_day
from atoll.node.web.dock.shelf import item
from atoll.node.web.page import Page
from atoll.node.web.visit import Visit
from atoll.protocol.listings import Listing
from atoll.protocol.policy import ACTS, Act, Policy

if TYPE_CHECKING:
    from atoll.node.app import Node

USES = 50  # lines of use that are shown, the newest first


@dataclass(frozen=True)
class Place:
    """A federation of this node, and how the learnware stands there; ``policy`` is for those who may publish."""

    federation: Federation
    listing: Listing | None
    policy: Policy | None

    @property
    def named(self) -> int:
        """How many peers the policy names."""
        if self.policy is None:
            return 0
        return len({peer for act in ACTS for peer in self.policy.rule(act).peers})


@dataclass(frozen=True)
class Served:
    """``charts`` by act, of what was done at all in 30 days; ``lines`` the newest first, ``more`` of them not shown."""

    charts: dict[Act, Chart]
    lines: list[Use]
    more: int


@dataclass(frozen=True)
class Spent:
    """A noised specification's entry in the ledger, and all that was spent on its data set."""

    row: LedgerRow
    total: float


@dataclass(frozen=True)
class Privacy:
    """A specification, and what the ledger has under it (nothing for reduced sets, or if it was made elsewhere)."""

    entry: SpecEntry
    count: int
    spent: Spent | None


async def show(visit: Visit) -> web.Response:
    """Manage one learnware. Use, ledger and policies are for those who may publish, as on the API."""
    node, learnware = visit.node, visit.node.dock.get(own(visit))
    publishes = visit.may("publish")
    served = await asyncio.to_thread(_served, node, learnware.id) if publishes else None
    privacy = await asyncio.to_thread(_privacy, node, learnware.id) if publishes else []
    return await html(
        visit, "dock/learnware.html", learnware=learnware, item=await asyncio.to_thread(item, node, learnware),
        places=_places(node, learnware.id, publishes), served=served, privacy=privacy,
        revisions=_revisions(node, learnware.id) if publishes else [], says=words,
        said=visit.said(words.SAID), epsilon_limit=node.config.privacy.epsilon_limit,
    )  # fmt: skip


def _places(node: Node, learnware_id: bytes, publishes: bool) -> list[Place]:
    listings = {each.federation: each for each in node.publisher.listed_in(learnware_id)}
    found = []
    for federation in node.federations.all():
        listing = listings.get(federation.id)
        policy = node.gate.policy(listing) if listing is not None and publishes else None
        found.append(Place(federation, listing, policy))
    return sorted(found, key=lambda each: (each.listing is None, each.federation.charter.name.casefold()))


def _served(node: Node, learnware_id: bytes) -> Served:
    now, uses = now_ms(), node.gate.usage.of(learnware_id)
    charts = {}
    for act in ACTS:
        days = Counter[int]()
        for use in uses:
            if use.act == act:
                days[use.day] += use.amount
        if any(day >= first_day(now) for day in days):
            charts[act] = chart(days, now, width=300, height=60)
    lines = sorted(uses, key=lambda use: (-use.day, -use.amount))
    return Served(charts, lines[:USES], max(0, len(lines) - USES))


def _privacy(node: Node, learnware_id: bytes) -> list[Privacy]:
    learnware, ledger = node.dock.get(learnware_id), node.ledger.entries()
    return [
        Privacy(entry, learnware.specifications[bytes.fromhex(entry.island)].count, _spent(entry, ledger))
        for entry in learnware.manifest.specifications
    ]


def _spent(entry: SpecEntry, ledger: list[LedgerRow]) -> Spent | None:
    """The newest entry of that budget in that island: the package does not say which data it was."""
    if entry.dp is None:
        return None
    budget = bytes.fromhex(entry.island), entry.dp.epsilon, entry.dp.delta
    for row in reversed(ledger):
        if (row.spending.island, row.spending.epsilon, row.spending.delta) == budget:
            same = [each.spending.epsilon for each in ledger if each.spending.dataset == row.spending.dataset]
            return Spent(row, math.fsum(same))
    return None


def _revisions(node: Node, learnware_id: bytes) -> list[SubmissionRow]:
    """When each was taken in, the newest first, as far as the queue remembers."""
    return [row for row in node.acceptance.all() if row.state == "accepted" and row.learnware_id == learnware_id]


PAGES = (Page("GET", "/dock/{id}", show, "read"),)
