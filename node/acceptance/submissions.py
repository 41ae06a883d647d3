"""Submissions on disk: what was uploaded, how far its checks are, and what came of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

import msgspec
from atoll.engine.packages.acceptance import AcceptanceReport
from atoll.node.store.environment import Store, Transaction
from atoll.protocol.errors import NotFound

State = Literal["waiting", "running", "accepted", "refused"]
KEPT = 500  # decided ones


class LabelledRows(msgspec.Struct, frozen=True):
    """A sample to measure quality on: rows in raw units under ``columns``, and the class name or target of each."""

    columns: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]
    truth: tuple[str | float, ...]


class SubmissionRow(msgspec.Struct, frozen=True):
    """``package`` is the SHA-256 of what was uploaded, ``by`` the token that submitted it, ``labelled`` whether a
    sample came with it; the files are kept until it is decided (node.acceptance.uploads)."""

    id: bytes
    package: bytes
    by: str
    submitted_at: int
    state: State = "waiting"
    decided_at: int = 0
    report: AcceptanceReport | None = None
    learnware_id: bytes = b""
    labelled: bool = False

    @property
    def key(self) -> bytes:
        return self.submitted_at.to_bytes(8, "big") + self.id

    @property
    def open(self) -> bool:
        return self.state in ("waiting", "running")


class Submissions:
    """Thread-safe; returns after commit."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows = store.table("submissions", SubmissionRow)
        self._lock = threading.Lock()
        with store.view() as txn:
            self._held = {row.id: row for _, row in self._rows.scan(txn)}

    def all(self) -> list[SubmissionRow]:
        """The newest first."""
        with self._lock:
            return sorted(self._held.values(), key=lambda row: row.key, reverse=True)

    def get(self, id_: bytes) -> SubmissionRow:
        with self._lock:
            if id_ not in self._held:
                raise NotFound("no such submission (any more)", hint="see `atoll learnware submissions`")
            return self._held[id_]

    def put(self, row: SubmissionRow, then: Callable[[], None] = lambda: None) -> None:
        """Keep it; the oldest decided ones make room. ``then`` is called when it is on disk and nobody sees it yet."""
        with self._lock:
            decided = sorted((each for each in self._held.values() if not each.open), key=lambda each: each.key)
            old = decided[: max(0, len(decided) - KEPT)]

        def operation(txn: Transaction) -> None:
            self._rows.put(txn, row.key, row)
            for each in old:
                self._rows.delete(txn, each.key)

        self._store.write(operation).result()
        then()
        with self._lock:
            self._held[row.id] = row
            for each in old:
                self._held.pop(each.id, None)
