"""Others' code that the administrator has let in: by its publisher and the digest of the revision, so that neither
another publisher's copy nor the next revision comes in with it."""

from __future__ import annotations

import threading
from functools import partial

import msgspec
from atoll.node.store.environment import Store


class CodeRow(msgspec.Struct, frozen=True):
    """One revision of a learnware; ``revision`` hashes all of its package. ``since`` in ms."""

    owner: bytes
    revision: bytes
    learnware_id: bytes
    name: str
    since: int

    @property
    def key(self) -> bytes:
        return self.owner + self.revision


class AdmittedCode:
    """Thread-safe; reading never waits for a write."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows = store.table("admitted_code", CodeRow)
        self._lock = threading.Lock()
        with store.view() as txn:
            self._kept = {row.key: row for _, row in self._rows.scan(txn)}

    def all(self) -> list[CodeRow]:
        """The newest first."""
        rows = list(self._kept.values())  # at once: others write
        return sorted(rows, key=lambda row: (-row.since, row.key))

    def admits(self, owner: bytes, revision: bytes) -> bool:
        return owner + revision in self._kept

    def add(self, row: CodeRow) -> None:
        """Returns after commit."""
        with self._lock:
            self._store.write(lambda txn: self._rows.put(txn, row.key, row)).result()
            self._kept[row.key] = row

    def remove(self, learnware_id: bytes) -> list[CodeRow]:
        """Let no revision of a learnware in any more; those that were. Returns after commit."""
        with self._lock:
            gone = [row for row in self._kept.values() if row.learnware_id == learnware_id]
            for row in gone:
                self._store.write(partial(self._rows.delete, key=row.key)).result()
                del self._kept[row.key]
        return gone
