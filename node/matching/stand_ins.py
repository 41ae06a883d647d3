"""The stand-ins of RKMEs that are not disclosed: each is made once, off every query's path, and kept in the store."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable
from weakref import WeakKeyDictionary

from atoll.engine.specs.rkme import Rkme, RkmeRecord
from atoll.engine.specs.stand_in import stand_in
from atoll.node.store.environment import MAX_VALUE, Store

KEPT = MAX_VALUE // 2  # bytes of points; larger ones are made at every start


class StandIns:
    """Thread-safe. One takes up to 30 ms to make (100 points); whoever makes them calls :meth:`make_next`."""

    def __init__(self, store: Store, make: Callable[[Rkme], Rkme] = stand_in) -> None:
        self._make = make
        self._store = store
        self._rows = store.table("stand_ins", RkmeRecord)
        self._changed = threading.Condition()
        self._made: WeakKeyDictionary[Rkme, Rkme] = WeakKeyDictionary()
        self._wanted: dict[Rkme, None] = {}

    def find(self, rkme: Rkme) -> Rkme | None:
        """The stand-in, if it is there."""
        with self._changed:
            return self._made.get(rkme)

    def want(self, rkmes: Iterable[Rkme], *, first: bool = False) -> None:
        """Have these made; ``first`` of all if somebody waits for them."""
        with self._changed:
            new = {rkme: None for rkme in rkmes if rkme not in self._made}
            self._wanted = {**new, **self._wanted} if first else {**self._wanted, **new}

    def make_next(self) -> bool:
        """Make one of those that are wanted, or take it from the store; False if there are none."""
        with self._changed:
            rkme = next(iter(self._wanted), None)
        if rkme is None:
            return False
        try:
            made = self._kept(rkme)
        finally:  # what cannot be made is not tried again until it is wanted again
            with self._changed:
                self._wanted.pop(rkme, None)
        with self._changed:
            self._made[rkme] = made
            self._changed.notify_all()
        return True

    def wait(self, rkmes: Iterable[Rkme], seconds: float) -> bool:
        """Whether all of these are there, or were within so many seconds."""
        waited_for = list(rkmes)
        with self._changed:
            return self._changed.wait_for(lambda: all(rkme in self._made for rkme in waited_for), seconds)

    def keep_only(self, rkmes: Iterable[Rkme]) -> None:
        """Forget the stored ones of all others; returns after commit."""
        kept = {_key(rkme) for rkme in rkmes}
        with self._store.view() as txn:
            gone = [key for key, _ in self._rows.raw(txn, b"") if key not in kept]
        if gone:
            self._store.write(lambda txn: [self._rows.delete(txn, key) for key in gone]).result()

    def _kept(self, rkme: Rkme) -> Rkme:
        key = _key(rkme)
        with self._store.view() as txn:
            row = self._rows.get(txn, key)
        if row is not None:
            return Rkme.from_record(row)
        made = self._make(rkme)
        if made.points.nbytes <= KEPT:
            self._store.write(lambda txn: self._rows.put(txn, key, made.record()))
        return made


def _key(rkme: Rkme) -> bytes:
    return hashlib.sha256(rkme.to_bytes()).digest()
