"""The end of a node in good order: nothing new begins, what is under way ends, whoever still waits is told so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from atoll.node.errors import NodeStopping

TOLD_SECONDS = 2.0  # within which those who are told the end have heard it
LOOK_AGAIN = 0.05  # seconds


def stopping() -> NodeStopping:
    """What is said to whoever begins something now, or waits for what does not end in time."""
    return NodeStopping("this node is about to stop", hint="try again when it is back")


class Stopping:
    """Lives in the asyncio loop. ``over`` is set when nothing is waited for any more."""

    def __init__(self) -> None:
        self.begun = False
        self.over = asyncio.Event()
        self._answering = 0
        self._followed = 0

    def require_going_on(self) -> None:
        """NodeStopping once the end has begun."""
        if self.begun:
            raise stopping()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """A request is answered within the block."""
        self._answering += 1
        try:
            yield
        finally:
            self._answering -= 1

    @contextmanager
    def followed(self) -> Iterator[None]:
        """The answer is a stream of events, within the block: it ends with what it tells of."""
        self._followed += 1
        try:
            yield
        finally:
            self._followed -= 1

    async def drain(self, under_way: Callable[[], int], seconds: float, hurry: asyncio.Event) -> bool:
        """Wait until all requests are answered and nothing is ``under_way``, or ``seconds`` are over, or ``hurry`` is
        set. Whether all of it has ended."""
        self.begun = True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not hurry.is_set() and (under_way() or self._answering > self._followed):
                    await _either(hurry, LOOK_AGAIN)
        return not under_way()

    async def tell(self) -> None:
        """Whoever still follows something is told the end; returns when they have heard, or are not listening."""
        self.over.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(TOLD_SECONDS):
                while self._answering:
                    await asyncio.sleep(LOOK_AGAIN)


async def _either(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
