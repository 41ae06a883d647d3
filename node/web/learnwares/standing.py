"""How things stand with what was asked of an owner: as it said last, and asked anew when the page is opened."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from atoll.engine.errors import AtollError
from atoll.node.api.policies import AskBody, ask_owner
from atoll.node.clock import now_ms
from atoll.node.p2p.errors import PeerTimeout
from atoll.node.policy import noted
from atoll.node.policy.asked import GOING_ON, AskedRow
from atoll.node.web.learnwares.finding import Shown
from atoll.node.web.learnwares.kept import KEPT, Said
from atoll.protocol.listings import Listing

if TYPE_CHECKING:
    from atoll.node.web.visit import Visit

PATIENCE = 1.5  # seconds that a page waits for an owner


async def hear(visit: Visit, shown: Shown) -> None:
    """Ask the owner once how things stand, if something was asked of which it may say else by now: at most every few
    minutes, however often the page is opened, and nothing is said if it does not answer. It is asked as whoever has
    asked before, so that it learns of nobody else."""
    if visit.may("predict"):
        kept, now = visit.request.app[KEPT], now_ms()
        due = [
            (each, rows[0].user) for each in shown.live_listings
            if _unsure(each, rows := visit.node.asked.of(each)) and kept.due(each, now)
        ]  # fmt: skip
        await asyncio.gather(*(_hear(visit, shown, listing, user) for listing, user in due))


def _unsure(listing: Listing, rows: Sequence[AskedRow]) -> bool:
    """Whether the owner may decide, or take back, or has said it of an older listing."""
    return any(row.state in GOING_ON or row.told_at < listing.issued_at for row in rows)


async def _hear(visit: Visit, shown: Shown, listing: Listing, user: str) -> None:
    with suppress(AtollError):
        await ask(visit, shown, listing, user, AskBody(), PATIENCE)


async def ask(
    visit: Visit, shown: Shown, listing: Listing, user: str, body: AskBody, patience: float | None = None
) -> None:
    """Ask its owner for acts, or for none how things stand, as ``user``; what it says is told to this visitor."""
    async with visit.noting("learnware.ask", id=shown.hex, **noted.asking(listing, body.acts)):
        try:
            async with asyncio.timeout(patience):
                states = await ask_owner(visit.node, listing, user, body)
        except TimeoutError:
            raise PeerTimeout("its owner has not answered in time") from None
    visit.request.app[KEPT].note(visit.user, listing, states, now_ms())


def said(visit: Visit, shown: Shown) -> Said | None:
    """What its owner has said last, by whichever listing: to this visitor, or to anybody here of what was asked and is
    given on request still."""
    if visit.token is None:
        return None
    now, told = now_ms(), [visit.request.app[KEPT].said(visit.user, each) for each in shown.listings]
    for listing in shown.listings:
        rows = [row for row in visit.node.asked.of(listing) if getattr(listing.offers, row.act) == "ask"]
        if rows:
            told.append(Said(tuple(row.state_at(now) for row in rows), max(row.told_at for row in rows)))
    return max((each for each in told if each is not None), key=lambda each: each.at, default=None)
