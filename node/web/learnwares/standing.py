"""How things stand with what was asked of an owner: as it said last, and asked anew when the page is opened."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
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
from atoll.protocol.ask import ActState
from atoll.protocol.listings import Listing

if TYPE_CHECKING:
    from atoll.node.web.visit import Visit

PATIENCE = 1.5  # seconds that a page waits for an owner


async def hear(visit: Visit, shown: Shown) -> None:
    """Ask the owner once how things stand, if something was asked of which it may say else by now: at most every few
    minutes, however often the page is opened, and nothing is said if it does not answer."""
    if visit.may("predict"):
        kept, now = visit.request.app[KEPT], now_ms()
        live = [each for each in shown.listings if each.status == "live"]
        due = [each for each in live if _unsure(each, visit.node.asked.of(each)) and kept.due(each, now)]
        await asyncio.gather(*(_hear(visit, shown, each) for each in due))


def _unsure(listing: Listing, rows: Sequence[AskedRow]) -> bool:
    """Whether the owner may decide, or take back, or has said it of an older listing."""
    return any(row.state in GOING_ON or row.told_at < listing.issued_at for row in rows)


async def _hear(visit: Visit, shown: Shown, listing: Listing) -> None:
    """As whoever has asked, so that the owner learns of no other."""
    user = visit.node.asked.of(listing)[0].user
    with suppress(AtollError):
        async with visit.noting("learnware.ask", id=shown.hex, **noted.asking(listing, ())):
            states = await _in_time(ask_owner(visit.node, listing, user, AskBody()))
        visit.request.app[KEPT].note(visit.user, listing, states, now_ms())


async def _in_time(asking: Awaitable[tuple[ActState, ...]]) -> tuple[ActState, ...]:
    try:
        async with asyncio.timeout(PATIENCE):
            return await asking
    except TimeoutError:
        raise PeerTimeout(f"its owner has not answered in {PATIENCE} s") from None


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
