"""A member at work: one task, one call at a time, until it fails or the session ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import numpy as np
from atoll.engine.errors import AtollError
from atoll.node.reuse.members import Predict, Values
from numpy.typing import NDArray

OFF_SPECIFICATION = "policy.off_spec"
BUSY = frozenset({"sandbox.busy", "node.busy"})
PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds, before a busy member is asked again

_Order = tuple[NDArray[np.float32], "asyncio.Future[Values]"]


class Declined(Exception):
    """The rows of one call are none of the member's business; others may be."""


class Worker:
    """Lives in the asyncio loop. ``failed`` says why it is left out from then on."""

    def __init__(self, open_: Callable[[], AbstractAsyncContextManager[Predict]]) -> None:
        self._open = open_
        self._orders: Final[asyncio.Queue[_Order]] = asyncio.Queue()
        self.failed: AtollError | None = None
        self.asked = self.answered = self.declined = 0
        self.seconds = 0.0

    async def ask(self, rows: NDArray[np.float32]) -> Values:
        """What the member says of rows (n, d); Declined, or the AtollError that has ended it."""
        if self.failed is not None:
            raise self.failed
        answer: asyncio.Future[Values] = asyncio.get_running_loop().create_future()
        self._orders.put_nowait((rows, answer))
        return await answer

    async def work(self) -> None:
        """Run until cancelled, or failed."""
        try:
            while self.failed is None:
                await self._shift(await self._orders.get())
        finally:
            self._refuse_all()

    async def _shift(self, order: _Order) -> None:
        """Open the way to the member, and use it until it breaks. One that has served may break by itself, if it was
        idle: then there is one more attempt."""
        for again in (True, False):
            before = self.answered
            try:
                async with self._open() as predict:
                    while await self._answered(predict, order):
                        order = await self._orders.get()
                return
            except AtollError as error:
                if again and self.answered > before and error.code.startswith("p2p."):
                    continue
                self.failed = error
                if not order[1].done():
                    order[1].set_exception(error)
                return

    async def _answered(self, predict: Predict, order: _Order) -> bool:
        """Whether the way is still open."""
        rows, answer = order
        self.asked += len(rows)
        began = time.monotonic()
        try:
            values = await _patiently(predict, rows)
        except AtollError as error:
            if error.code != OFF_SPECIFICATION:
                raise
            self.declined += len(rows)
            answer.set_exception(Declined(error.message))
            return False
        finally:
            self.seconds += time.monotonic() - began
        self.answered += len(rows)
        if not answer.done():
            answer.set_result(values)
        return True

    def _refuse_all(self) -> None:
        while not self._orders.empty():
            _, answer = self._orders.get_nowait()
            if not answer.done():
                answer.set_exception(self.failed or asyncio.CancelledError())


async def _patiently(predict: Predict, rows: Values) -> Values:
    for pause in PAUSES:
        try:
            return await predict(rows)
        except AtollError as error:
            if error.code not in BUSY:
                raise
            await asyncio.sleep(pause)
    return await predict(rows)
