"""The stand-ins of RKMEs that are not disclosed: each is made once, off every query's path, and kept with its RKME."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from weakref import WeakKeyDictionary

from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.stand_in import stand_in


class StandIns:
    """Thread-safe. One takes up to 30 ms to make (100 points); whoever makes them calls :meth:`make_next`."""

    def __init__(self, make: Callable[[Rkme], Rkme] = stand_in) -> None:
        self._make = make
        self._changed = threading.Condition()
        self._made: WeakKeyDictionary[Rkme, Rkme] = WeakKeyDictionary()
        self._wanted: dict[Rkme, None] = {}

    def find(self, rkme: Rkme) -> Rkme | None:
        """The stand-in, if it is made."""
        with self._changed:
            return self._made.get(rkme)

    def want(self, rkmes: Iterable[Rkme], *, first: bool = False) -> bool:
        """Have these made, ``first`` of all if somebody waits for them; whether there is anything to do."""
        with self._changed:
            new = {rkme: None for rkme in rkmes if rkme not in self._made}
            self._wanted = {**new, **self._wanted} if first else {**self._wanted, **new}
            return bool(self._wanted)

    def make_next(self) -> bool:
        """Make one of those that are wanted; False if there are none."""
        with self._changed:
            rkme = next(iter(self._wanted), None)
        if rkme is None:
            return False
        try:
            made = self._make(rkme)
        finally:  # what cannot be made is not tried again until it is wanted again
            with self._changed:
                self._wanted.pop(rkme, None)
        with self._changed:
            self._made[rkme] = made
            self._changed.notify_all()
        return True

    def wait(self, rkmes: Iterable[Rkme], seconds: float) -> bool:
        """Whether all of these are made, or were within so many seconds."""
        waited_for = list(rkmes)
        with self._changed:
            return self._changed.wait_for(lambda: all(rkme in self._made for rkme in waited_for), seconds)
