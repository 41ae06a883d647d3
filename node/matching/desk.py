"""How much matching this node does at a time: a few threads, a queue, a rate for each peer; and a polite no beyond."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from atoll.node.config import ServingSection
from atoll.node.errors import NodeBusy
from atoll.node.journal import carrying
from atoll.node.p2p.buckets import Buckets

T = TypeVar("T")
OWN = ""
SHARES, LEAST_SHARE = 4, 8  # of the queue, of which one peer gets one, and so many places at least


class Load(NamedTuple):
    """Searches that are answered, or wait for that: those of peers, and of how many; those of the own users; and how
    many of either may be."""

    peers: int
    asking: int
    own: int
    most: int


class Desk:
    """Thread-safe; never blocks. What is refused costs nothing."""

    def __init__(self, config: ServingSection, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._lock = threading.Lock()
        self._under_way: Counter[bool] = Counter()  # for peers, and for the own users
        self._of: Counter[str] = Counter()
        self._buckets = Buckets(config.match_per_second, config.match_burst)
        self._threads = ThreadPoolExecutor(config.match_workers, thread_name_prefix="atoll-matching")

    def take(self, work: Callable[[], T], peer: str = OWN) -> Future[T]:
        """Do ``work`` in a thread as soon as there is one, in the order of asking; NodeBusy at once where ``peer`` asks
        too often or too many wait. The own users are not counted, and wait behind as many of their own at most."""
        foreign = peer != OWN
        with self._lock:
            if self._under_way[foreign] >= self._config.match_workers + self._config.match_queue:
                raise NodeBusy("this node has as many searches to answer as may wait", hint="try again in a second")
            if foreign and self._of[peer] >= max(LEAST_SHARE, self._config.match_queue // SHARES):
                raise NodeBusy("as many searches of yours as may are waiting here", hint="try again in a second")
            if foreign and not self._buckets.take(peer, self._clock()):
                pause = 1.0 / self._config.match_per_second
                raise NodeBusy(
                    f"this node answers {self._config.match_per_second:g} searches a second of one peer",
                    hint=f"try again in {max(pause, 1.0):.0f} s",
                )
            future = self._threads.submit(carrying(work))
            self._under_way[foreign] += 1
            self._of[peer] += 1
        future.add_done_callback(lambda _: self._left(peer))
        return future

    @property
    def load(self) -> Load:
        with self._lock:
            most = self._config.match_workers + self._config.match_queue
            asking = sum(peer != OWN for peer in self._of)
            return Load(self._under_way[True], asking, self._under_way[False], most)

    def close(self) -> None:
        """Returns when what is being done is done; what waits is cancelled."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _left(self, peer: str) -> None:
        with self._lock:
            self._under_way[peer != OWN] -= 1
            self._of[peer] -= 1
            if not self._of[peer]:
                del self._of[peer]
