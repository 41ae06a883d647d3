"""Quotas: what each institution and each of its users has used today, who is near an end, and what the node allows."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web
from atoll.node.clock import now_ms
from atoll.node.policy.usage import UseToday
from atoll.node.store.ledger import LedgerRow
from atoll.node.web.answers import html
from atoll.node.web.page import Page
from atoll.node.web.paging import paged
from atoll.node.web.visit import Visit
from atoll.protocol.ids import peer_id
from atoll.protocol.limits import DAY
from atoll.protocol.listings import Listing
from atoll.protocol.policy import Act, Rule

if TYPE_CHECKING:
    from atoll.node.app import Node

PAGE = 50
NEAR = 0.8  # of a quota
SHORT = 8


class Used(NamedTuple):
    """What one institution, or one of its users (``user``, 8 characters of a hash), has used today of one learnware;
    ``quota`` None: without an end."""

    learnware_id: str
    name: str
    federation: str
    peer: str
    user: str
    act: Act
    amount: int
    quota: int | None

    @property
    def share(self) -> float:
        return 0.0 if self.quota is None else 1.0 if self.quota == 0 else min(1.0, self.amount / self.quota)

    @property
    def near(self) -> bool:
        return self.quota is not None and self.amount >= NEAR * self.quota


class Budget(NamedTuple):
    """Differential privacy that was spent on one data set, in all, and by how many entries of the ledger."""

    dataset: str
    epsilon: float
    entries: int
    last: int

    def share(self, limit: float) -> float:
        return min(1.0, self.epsilon / limit) if limit > 0 else 1.0


async def show(visit: Visit) -> web.Response:
    node, now = visit.node, now_ms()
    every, budgets = await asyncio.to_thread(_used, node, now), await asyncio.to_thread(_budgets, node)
    rows, paging = paged(every, visit.request, PAGE)
    config = node.config
    return await html(
        visit, "admin/quotas.html", tab="/admin/quotas", rows=rows, paging=paging, near=[e for e in every if e.near],
        budgets=budgets, limit=config.privacy.epsilon_limit, ends=now - now % DAY + DAY,
        limits_of=_limits(node),
    )  # fmt: skip


def _used(node: Node, now: int) -> list[Used]:
    """Those near an end first, then by how much was used."""
    own = {(each.federation, each.learnware_id): each for each in _own(node)}
    found = [used for each in node.gate.usage.today(now) for used in _of(node, each, own)]
    return sorted(found, key=lambda each: (-each.share, -each.amount, each.name, each.peer, each.user))


def _own(node: Node) -> list[Listing]:
    return [
        each for id_ in node.federations.ids() for each in node.catalogue.of_owner(id_, node.identity.public)
    ]  # fmt: skip


def _of(node: Node, use: UseToday, own: dict[tuple[bytes, bytes], Listing]) -> list[Used]:
    listing, peer = own.get((use.federation, use.learnware_id)), peer_id(use.peer)
    free = peer == node.identity.peer or listing is None
    rule = Rule() if free or listing is None else node.gate.policy(listing).rule(use.act)
    what = (use.learnware_id.hex(), listing.semantic.name if listing else "", use.federation.hex(), peer)
    users = [
        Used(*what, user[:SHORT], use.act, amount, rule.per_user)
        for user, amount in use.users.items()
        if rule.per_user is not None
    ]
    return [Used(*what, "", use.act, use.amount, rule.per_peer), *users]


def _budgets(node: Node) -> list[Budget]:
    """The most spent first."""
    by: defaultdict[str, list[LedgerRow]] = defaultdict(list)
    for row in node.ledger.entries():
        by[row.spending.dataset].append(row)
    found = [
        Budget(name, sum(row.spending.epsilon for row in rows), len(rows), max(row.spent_at for row in rows))
        for name, rows in by.items()
    ]
    return sorted(found, key=lambda each: (-each.epsilon, each.dataset))


def _limits(node: Node) -> dict[str, object]:
    """Keys of the configuration, with their values."""
    sections = {"serving": node.config.serving, "reuse": node.config.reuse, "privacy": node.config.privacy}
    return {
        f"{section}.{key}": getattr(values, key)
        for section, values in sections.items()
        for key in values.__struct_fields__
    }


PAGES = (Page("GET", "/admin/quotas", show, "admin"),)
