"""A member at work for one session: opened when it is first asked, left out once it has failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from atoll.engine.errors import AtollError
from atoll.node.p2p.prediction import Answered, patience
from atoll.node.reuse.members import Predict, Values

OFF_SPECIFICATION = "policy.off_spec"
BUSY = frozenset({"sandbox.busy", "node.busy"})
PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds, before a member that is busy, and answers nothing, is asked again


def declines(said: Answered) -> bool:
    """Whether the rows without an answer are none of the member's business; others may be."""
    return said.error is not None and said.error.code == OFF_SPECIFICATION


class Worker:
    """Lives in the asyncio loop. ``failed`` says why it is left out from then on; the counts are of rows."""

    def __init__(
        self, opening: Callable[[], AbstractAsyncContextManager[Predict]], stack: AsyncExitStack, width: int
    ) -> None:
        self._opening = opening
        self._stack = stack
        self._width = width
        self._lock = asyncio.Lock()
        self._predict: Predict | None = None
        self.failed: AtollError | None = None
        self.asked = self.answered = self.declined = 0
        self.seconds = 0.0

    async def ask(self, rows: Values) -> Answered:
        """What the member says of raw rows (n, d), as far as it does; an error other than that it declines ends it."""
        try:
            predict = await self._opened()
        except AtollError as error:
            return self._noted(Answered.nothing(len(rows), self._width, error))
        self.asked += len(rows)
        began = time.monotonic()
        try:
            return self._noted(await _patiently(predict, rows))
        finally:
            self.seconds += time.monotonic() - began

    def _noted(self, said: Answered) -> Answered:
        self.answered += said.number
        if declines(said):
            self.declined += len(said.rows) - said.number
        elif said.error is not None:
            self.failed = self.failed or said.error
        return said

    async def _opened(self) -> Predict:
        async with self._lock:
            if self.failed is not None:
                raise self.failed
            if self._predict is None:
                self._predict = await self._stack.enter_async_context(self._opening())
            return self._predict


async def _patiently(predict: Predict, rows: Values) -> Answered:
    """A member that is busy is asked again about what it has not answered, as long as it gets on."""
    said, pauses, end = await predict(rows), iter(PAUSES), time.monotonic() + patience(rows)
    while said.error is not None and said.error.code in BUSY and time.monotonic() < end:
        pause = next(pauses, None)
        if pause is None:
            break
        await asyncio.sleep(pause)
        more = await predict(rows[~said.rows])
        if more.number:
            pauses = iter(PAUSES)
        said = said.then(more)
    return said
