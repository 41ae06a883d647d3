"""A member at work for one session: opened when it is first asked, left out once it has failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from atoll.engine.errors import AtollError
from atoll.node.reuse.members import Predict, Values

OFF_SPECIFICATION = "policy.off_spec"
BUSY = frozenset({"sandbox.busy", "node.busy"})
PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds, before a busy member is asked again


class Declined(Exception):
    """The rows of one call are none of the member's business; others may be."""


class Worker:
    """Lives in the asyncio loop. ``failed`` says why it is left out from then on; the counts are of rows."""

    def __init__(self, opening: Callable[[], AbstractAsyncContextManager[Predict]], stack: AsyncExitStack) -> None:
        self._opening = opening
        self._stack = stack
        self._lock = asyncio.Lock()
        self._predict: Predict | None = None
        self.failed: AtollError | None = None
        self.asked = self.answered = self.declined = 0
        self.seconds = 0.0

    async def ask(self, rows: Values) -> Values:
        """What the member says of raw rows (n, d); Declined, or the AtollError that has ended it."""
        if self.failed is not None:
            raise self.failed
        try:
            predict = await self._opened()
            self.asked += len(rows)
            began = time.monotonic()
            try:
                values = await _patiently(predict, rows)
            finally:
                self.seconds += time.monotonic() - began
        except AtollError as error:
            if error.code == OFF_SPECIFICATION:
                self.declined += len(rows)
                raise Declined(error.message) from None
            self.failed = self.failed or error
            raise
        self.answered += len(rows)
        return values

    async def _opened(self) -> Predict:
        async with self._lock:
            if self.failed is not None:
                raise self.failed
            if self._predict is None:
                self._predict = await self._stack.enter_async_context(self._opening())
            return self._predict


async def _patiently(predict: Predict, rows: Values) -> Values:
    for pause in PAUSES:
        try:
            return await predict(rows)
        except AtollError as error:
            if error.code not in BUSY:
                raise
            await asyncio.sleep(pause)
    return await predict(rows)
