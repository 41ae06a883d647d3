"""What the pages of learnwares remember while the node runs: what owners have said to whom, what is being fetched."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from aiohttp import web
from atoll.node.api.downloads import Fetching
from atoll.node.errors import NodeBusy
from atoll.protocol.ask import ActState
from atoll.protocol.listings import Listing

ANSWERS, FETCHES = 2000, 200
AGAIN = 300_000  # ms between two questions that a page asks of itself
AT_A_TIME = 8  # fetched for one user
Place = tuple[str, bytes, bytes, bytes]  # user, federation, owner, learnware


class Said(NamedTuple):
    """What an owner said, and when (ms)."""

    states: tuple[ActState, ...]
    at: int


class Kept:
    """Lives in the asyncio loop."""

    def __init__(self) -> None:
        self._said: OrderedDict[Place, Said] = OrderedDict()
        self._asked: OrderedDict[bytes, int] = OrderedDict()
        self._fetches: OrderedDict[tuple[str, bytes], Fetching] = OrderedDict()

    def note(self, user: str, listing: Listing, states: Sequence[ActState], now: int) -> None:
        place = (user, listing.federation, listing.owner, listing.learnware_id)
        self._said[place] = Said(tuple(states), now)
        self._said.move_to_end(place)
        while len(self._said) > ANSWERS:
            self._said.popitem(last=False)

    def said(self, user: str, listing: Listing) -> Said | None:
        """What the owner said to this user last, while the node ran."""
        return self._said.get((user, listing.federation, listing.owner, listing.learnware_id))

    def due(self, listing: Listing, now: int) -> bool:
        """Whether a page may ask its owner by itself, for whomever; then it has, for the next minutes."""
        place = listing.place
        if now < self._asked.get(place, -AGAIN) + AGAIN:
            return False
        self._asked[place] = now
        self._asked.move_to_end(place)
        while len(self._asked) > ANSWERS:
            self._asked.popitem(last=False)
        return True

    def fetching(self, user: str, revision: bytes) -> Fetching | None:
        """What this user has had fetched, under way or ended."""
        return self._fetches.get((user, revision))

    def check_room(self, user: str) -> None:
        """NodeBusy while enough is being fetched for this user."""
        if sum(not each.ended for (by, _), each in self._fetches.items() if by == user) >= AT_A_TIME:
            raise NodeBusy(f"{AT_A_TIME} learnwares are being fetched for you", hint="try again when one is here")

    def begin(self, user: str, revision: bytes, fetching: Fetching) -> None:
        """Remember what is being fetched; the oldest that have ended make room."""
        self._fetches[user, revision] = fetching
        self._fetches.move_to_end((user, revision))
        for place in [place for place, each in self._fetches.items() if each.ended][:-FETCHES]:
            del self._fetches[place]

    async def aclose(self) -> None:
        """End what is under way."""
        tasks = [each.task for each in self._fetches.values() if each.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


KEPT = web.AppKey("learnwares", Kept)


def prepare(app: web.Application) -> None:
    """Give the application what the pages remember by."""
    kept = app[KEPT] = Kept()

    async def close(_: web.Application) -> None:
        await kept.aclose()

    app.on_shutdown.append(close)
