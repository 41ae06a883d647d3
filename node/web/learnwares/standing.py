"""How things stand with what was asked of an owner: as it said last, and asked anew when the page is opened."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from atoll.engine.errors import AtollError
from atoll.node.api.policies import AskBody, ask_owner
from atoll.node.clock import now_ms
from atoll.node.web.learnwares.finding import Shown
from atoll.node.web.learnwares.kept import KEPT, Said

if TYPE_CHECKING:
    from atoll.node.web.visit import Visit

PATIENCE = 1.5  # seconds that a page waits for an owner


async def hear(visit: Visit, shown: Shown) -> None:
    """Ask the owner once how things stand, if something was asked that it had not decided when it was last heard: at
    most every few minutes, however often the page is opened, and nothing is said if it does not answer."""
    if not visit.may("predict"):
        return
    kept = visit.request.app[KEPT]
    for listing in shown.listings:
        waits = any(row.state == "pending" for row in visit.node.asked.of(listing))
        if not (waits and listing.status == "live" and kept.due(listing, now_ms())):
            continue
        try:
            async with visit.noting("learnware.ask", id=shown.hex), asyncio.timeout(PATIENCE):
                states = await ask_owner(visit.node, listing, visit.user, AskBody())
        except (AtollError, TimeoutError):
            continue
        kept.note(visit.user, listing, states, now_ms())


def said(visit: Visit, shown: Shown) -> Said | None:
    """What its owner has said last, by whichever listing: to this visitor, or to anybody here of what was asked."""
    if visit.token is None:
        return None
    now, told = now_ms(), [visit.request.app[KEPT].said(visit.user, each) for each in shown.listings]
    for listing in shown.listings:
        rows = visit.node.asked.of(listing)
        if rows:
            told.append(Said(tuple(row.state_at(now) for row in rows), max(row.told_at for row in rows)))
    return max((each for each in told if each is not None), key=lambda each: each.at, default=None)
