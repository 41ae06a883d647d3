"""The policies of this node's own learnwares, one a federation, on disk and in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from atoll.node.store.environment import Store
from atoll.protocol.policy import Policy


class Policies:
    """Thread-safe. Keys are (federation, learnware id)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows = store.table("policies", Policy)
        self._lock = threading.Lock()
        self._listeners: list[Callable[[bytes, bytes], None]] = []
        with store.view() as txn:
            self._held = dict(self._rows.scan(txn))

    def on_change(self, listener: Callable[[bytes, bytes], None]) -> None:
        """Call ``listener(federation, learnware id)`` after each change, from whatever thread made it."""
        self._listeners.append(listener)

    def get(self, federation: bytes, learnware_id: bytes) -> Policy | None:
        """None where none was ever set: then what the listing offers is all there is."""
        with self._lock:
            return self._held.get(federation + learnware_id)

    @contextmanager
    def changed(self, federation: bytes, learnware_id: bytes, policy: Policy) -> Iterator[None]:
        """In force, and on disk, within the block and after it; if an error leaves it, the one before is again."""
        before = self.get(federation, learnware_id)
        self._put(federation, learnware_id, policy)
        try:
            yield
        except BaseException:
            self._put(federation, learnware_id, before)
            raise

    def forget(self, federation: bytes, learnware_ids: Iterable[bytes]) -> None:
        """After they were withdrawn; returns after commit."""
        for learnware_id in learnware_ids:
            self._put(federation, learnware_id, None)

    def _put(self, federation: bytes, learnware_id: bytes, policy: Policy | None) -> None:
        key = federation + learnware_id
        with self._lock:
            if policy is None:
                self._store.write(lambda txn: self._rows.delete(txn, key)).result()
                self._held.pop(key, None)
            else:
                self._store.write(lambda txn: self._rows.put(txn, key, policy)).result()
                self._held[key] = policy
        for listener in self._listeners:
            listener(federation, learnware_id)
