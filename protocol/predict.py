"""``/atoll/predict/1``: rows in, predictions out, at the owner, under its policy.

A stream takes any number of requests, answered in order, and the next may be sent before the last is answered: so many
rows go as frames of a size that their owner answers within a second or so.
"""

from __future__ import annotations

from atoll.engine.encoding import Array
from atoll.protocol.messages import Message

PROTOCOL = "/atoll/predict/1"
MAX_ROWS = 100_000  # of one request
IN_FLIGHT = 3  # frames sent and not answered yet
FIRST_ROWS, LEAST_ROWS, FRAME_ROWS = 512, 64, 4096
FIRST_BYTES, FRAME_BYTES = 1 << 18, 1 << 20  # of the rows of the first frame, and of any
QUICK, SLOW = 0.5, 4.0  # seconds for a frame below which the next is larger, and above which it is smaller

NO_ROWS = Array("float32", (0, 0), b"")


class PredictRequest(Message, frozen=True):
    """``rows`` float32 (n, d), raw units, columns in the order of the island's feature names."""

    federation: bytes
    learnware_id: bytes
    island: bytes
    rows: Array
    user: str = ""


class Prediction(Message, frozen=True):
    """``values`` float32 (n, outputs): class probabilities or target values."""

    values: Array
    class_names: tuple[str, ...] = ()


class Pace:
    """How many ``rows`` the next frame has: more while the owner is quick, fewer where it is slow."""

    def __init__(self, columns: int) -> None:
        size = 4 * max(1, columns)
        self._most = max(1, min(FRAME_ROWS, FRAME_BYTES // size))
        self.rows = max(1, min(FIRST_ROWS, FIRST_BYTES // size))

    def answered(self, seconds: float) -> None:
        """A frame was answered so long after the one before it, or after it was sent if that was later."""
        if seconds < QUICK:
            self.rows = min(self._most, 2 * self.rows)
        elif seconds > SLOW:
            self.rows = min(self._most, max(LEAST_ROWS, self.rows // 2))
