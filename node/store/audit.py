"""The audit log: who asked for what change, and what came of it; append-only.

Every row holds the hash of the row before it, so no row can be changed, removed or inserted without breaking the
chain behind it. What the chain alone cannot show: the newest rows cut off or changed, and a store whose writer made
the whole chain anew. For that an admin writes down the head, and has it checked as a witness.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import msgspec
from atoll.engine.encoding import unpack
from atoll.engine.errors import EncodingError, IntegrityError
from atoll.node.store.environment import MAX_VALUE, Store, Transaction

DOMAIN = b"atoll/audit/1\0"
MAX_TEXT, MAX_FIELDS = 200, 16
NODE = "node"  # the actor where nobody has asked
DONE = "done"
PAGE = 1000  # rows of one read transaction: a long one would keep old pages of the store alive
AFTER_A_BREAK = "keep a copy of the store as it is now, then find out who can write to it"
SECRET = re.compile(r"atoll_[\w-]{20,}|atoll-(?:invite|recovery)-\S+")
"""Tokens, invites and recovery keys: people paste them where an id or a name belongs."""


class AuditRow(msgspec.Struct, frozen=True):
    """One event. ``actor`` is a token's name and id prefix, or "node"; ``outcome`` is "asked", "done" or an error code;
    ``previous`` is the digest of the row before, 32 bytes."""

    seq: int
    at: int
    actor: str
    act: str
    subject: dict[str, str]
    outcome: str
    previous: bytes


class Head(NamedTuple):
    """The newest row and its digest (32 bytes): whoever knows them can tell that no row up to it has changed."""

    seq: int
    digest: bytes


class Break(NamedTuple):
    """The first row at which the log is not what was written, and why."""

    seq: int
    why: str


class AuditLog:
    """Thread-safe; rows are numbered from 1, without gaps."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows = store.table("audit", AuditRow)

    def append(self, actor: str, act: str, subject: Mapping[str, str], outcome: str, now: int) -> AuditRow:
        """The row, after its commit. Texts are cut to 200 characters, and what looks like a secret is left out."""
        return self._store.write(lambda txn: self.put(txn, actor, act, subject, outcome, now)).result()

    def put(
        self, txn: Transaction, actor: str, act: str, subject: Mapping[str, str], outcome: str, now: int
    ) -> AuditRow:
        """As :meth:`append`, within a transaction that does what it tells of: both are kept, or neither."""
        if len(subject) > MAX_FIELDS:
            raise ValueError(f"{act} notes {len(subject)} fields, {MAX_FIELDS} are allowed")
        noted = {_text(name): _text(value) for name, value in subject.items()}
        head = self._head(txn)
        row = AuditRow(head.seq + 1, now, _text(actor), act, noted, _text(outcome), head.digest)
        self._rows.put(txn, _key(row.seq), row)
        return row

    def entries(self, after: int, limit: int) -> list[AuditRow]:
        """Up to ``limit`` rows that follow row ``after``, oldest first; IntegrityError at one that cannot be read."""
        with self._store.view() as txn:
            stored = list(islice(self._rows.raw(txn, _key(after + 1)), limit))
        return [_read(raw) for _, raw in stored]

    def backwards(self, before: int) -> Iterator[AuditRow]:
        """Rows before row ``before``, newest first, in many short transactions."""
        while before > 1:
            start = max(0, before - 1 - PAGE)
            rows = self.entries(start, before - 1 - start)
            yield from reversed(rows)
            before = start + 1

    def until(self, at: int) -> int:
        """The last row written before ``at`` (ms), 0 if there is none; while a clock runs forwards."""
        low, high = 0, self.head().seq
        while low < high:
            middle = (low + high + 1) // 2
            rows = self.entries(middle - 1, 1)
            if rows and rows[0].at < at:
                low = middle
            else:
                high = middle - 1
        return low

    def head(self) -> Head:
        """The newest row, to be written down as a witness; row 0 where there is none yet."""
        with self._store.view() as txn:
            return self._head(txn)

    def verify(self, witness: Head | None = None) -> Break | None:
        """Where the log is broken first, or None; reads every row.

        Rows that were changed, removed, inserted or moved are found. Without a ``witness`` (an earlier :meth:`head`)
        rows cut off at the end, and a change to the newest row, are not: nothing behind them remembers.
        """
        seq, digest = 0, _digest(b"")
        for key, raw in self._stored():
            broken = _differs(witness, Head(seq, digest)) or _misfit(key, raw, Head(seq, digest))
            if broken is not None:
                return broken
            seq, digest = seq + 1, _digest(raw)
        if witness is not None and witness.seq > seq:
            return Break(seq + 1, f"the log ends before it, the witness saw row {witness.seq}")
        return _differs(witness, Head(seq, digest))

    def _head(self, txn: Transaction) -> Head:
        last = self._rows.last(txn)
        if last is None:
            return Head(0, _digest(b""))
        key, raw = last
        if len(key) != 8:
            raise IntegrityError("the audit log ends with a row that was never appended", hint=AFTER_A_BREAK)
        return Head(int.from_bytes(key, "big"), _digest(raw))

    def _stored(self) -> Iterator[tuple[bytes, bytes]]:
        start = b""
        while True:
            with self._store.view() as txn:
                page = list(islice(self._rows.raw(txn, start), PAGE))
            yield from page
            if len(page) < PAGE:
                return
            start = page[-1][0] + b"\0"


def _misfit(key: bytes, raw: bytes, head: Head) -> Break | None:
    """Why a row does not follow ``head``, or None."""
    seq = head.seq + 1
    if key != _key(seq):
        gap = len(key) == 8 and key > _key(seq)
        return Break(seq, "the row is missing" if gap else "a row that was never appended stands before it")
    try:
        row = _read(raw)
    except IntegrityError as error:
        return Break(seq, error.message)
    if row.seq != seq:
        return Break(seq, f"the row says that it is row {row.seq}")
    if row.previous != head.digest:
        return Break(seq, f"it does not follow from row {head.seq}: one of the two was changed")
    return None


def _differs(witness: Head | None, head: Head) -> Break | None:
    if witness is None or witness.seq != head.seq or witness.digest == head.digest:
        return None
    return Break(head.seq, "the row is not the one that the witness saw")


def _read(raw: bytes) -> AuditRow:
    try:
        return unpack(raw, AuditRow, limit=MAX_VALUE)
    except EncodingError as error:
        raise IntegrityError(f"a row of the audit log cannot be read: {error.message}") from None


def _key(seq: int) -> bytes:
    return seq.to_bytes(8, "big")


def _digest(raw: bytes) -> bytes:
    return hashlib.sha256(DOMAIN + raw).digest()


def _text(text: str) -> str:
    """Foreign text that can be stored: no lone surrogates, no secrets, no more than is worth keeping."""
    kept = SECRET.sub("(secret)", text.encode("utf-8", "replace").decode())
    return kept if len(kept) <= MAX_TEXT else kept[: MAX_TEXT - 1] + "…"
