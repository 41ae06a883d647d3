"""How well the rows of a peer lie where a learnware is good: all that were answered, not those of one frame alone.

Rows come in frames, and files are sorted, so one frame may lie elsewhere where the whole does not; and whoever asks row
by row is judged by all of its rows, so that small frames gain nothing. What is refused does not count, and of what was
better than needed little is carried on, or good rows would pay for any number of others.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple

from atoll.engine.matching.support import FULL, needed

REMEMBERED = 10_000  # pairs of peer and learnware; the one that was not seen for longest is forgotten
ROWS = 100_000  # what counts of what was before, at most
FORGIVEN = 10  # refused batches of a pair that cost nothing; who tries more of them is looking for something
SURPLUS = 256.0  # support beyond what was needed that is carried on: about 1000 rows that have none


class _Seen(NamedTuple):
    rows: float = 0.0
    support: float = 0.0  # the sum over the rows
    refused: int = 0  # batches


class Supports:
    """Thread-safe; in memory only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[str, bytes], _Seen] = OrderedDict()

    def admit(self, peer: str, learnware_id: bytes, rows: int, support: float) -> bool:
        """Whether ``rows`` rows of this mean support are answered; they count from then on.

        They are if they have what a batch needs, or all rows of the peer do. Users are not told apart, for a peer names
        them as it likes.
        """
        key = peer, learnware_id
        with self._lock:
            before = self._seen.get(key, _Seen())
            seen = _Seen(before.rows + rows, before.support + rows * support, before.refused)
            alone = rows >= FULL and support >= needed(rows)
            if not alone and seen.support < seen.rows * needed(round(seen.rows)):
                self._keep(key, before._replace(refused=before.refused + 1))
                return False
            carried = min(seen.support, seen.rows * needed(round(seen.rows)) + SURPLUS)
            faded = min(1.0, ROWS / seen.rows)
            self._keep(key, _Seen(seen.rows * faded, carried * faded, seen.refused))
            return True

    def forgiven(self, peer: str, learnware_id: bytes) -> bool:
        """Whether what was refused last costs the peer nothing of its quota."""
        with self._lock:
            return self._seen.get((peer, learnware_id), _Seen()).refused <= FORGIVEN

    def _keep(self, key: tuple[str, bytes], seen: _Seen) -> None:
        self._seen[key] = seen
        self._seen.move_to_end(key)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
