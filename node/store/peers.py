"""What is kept of peers over restarts, and the administrator's lists of whom to admit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec
from atoll.node.admission import Kind, Rules
from atoll.node.store.environment import Store, Transaction

T = TypeVar("T")


class PeerRow(msgspec.Struct):
    """``addresses`` are the peer's own words, ``hearsay`` those of others, ``worked`` the one last reached.

    ``proven``: it has once proven a federation in common. ``unanswered`` searches, since it last answered one, put off
    the ``next_ask``. Times in ms. Rows of the first release end at ``addresses``.
    """

    peer: str
    name: str = ""
    addresses: tuple[str, ...] = ()
    hearsay: tuple[str, ...] = ()
    worked: str = ""
    proven: bool = False
    last_seen: int = 0
    failures: int = 0
    next_dial: int = 0
    misbehaved: int = 0
    unanswered: int = 0
    next_ask: int = 0


class PeerRows:
    """The table of peers; writes are queued, in order, and not waited for unless said so."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows = store.table("peers", PeerRow)

    def load(self) -> list[PeerRow]:
        with self._store.view() as txn:
            return [row for _, row in self._rows.scan(txn)]

    def save(self, rows: Iterable[PeerRow], gone: Iterable[str] = ()) -> None:
        """Queue one write of all of it."""
        kept, lost = list(rows), list(gone)

        def operation(txn: Transaction) -> None:
            for peer in lost:
                self._rows.delete(txn, peer.encode())
            for row in kept:
                self._rows.put(txn, row.peer.encode(), row)

        self._store.write(operation)

    def delete(self, peer: str) -> None:
        """Returns after commit."""
        self._store.write(lambda txn: self._rows.delete(txn, peer.encode())).result()


class RuleRow(msgspec.Struct, frozen=True):
    """One entry of a list."""

    peer: str
    kind: Kind
    since: int


class PeerRules:
    """Thread-safe; ``current`` is a value in memory, asked for every message."""

    def __init__(self, store: Store, own: str) -> None:
        self._store = store
        self._rows = store.table("peer_rules", RuleRow)
        self._lock = threading.Lock()
        with store.view() as txn:
            self._kept = {(row.kind, row.peer): row for _, row in self._rows.scan(txn)}
        self.current = Rules(own)
        for row in self._kept.values():
            self.current = self.current.with_rule(row.kind, row.peer)

    def all(self) -> list[RuleRow]:
        with self._lock:
            return sorted(self._kept.values(), key=lambda row: (row.kind, row.since, row.peer))

    def add(self, kind: Kind, peer: str, now: int, approve: Callable[[Rules, Rules], T]) -> T:
        """Enter a rule; returns what ``approve(before, after)`` returns, after commit, unless that raises."""
        with self._lock:
            after = self.current.with_rule(kind, peer)
            approval = approve(self.current, after)
            row = self._kept.get((kind, peer), RuleRow(peer, kind, now))
            self._store.write(lambda txn: self._rows.put(txn, rule_key(kind, peer), row)).result()
            self._kept[kind, peer], self.current = row, after
        return approval

    def remove(self, kind: Kind, peer: str, approve: Callable[[Rules, Rules], T]) -> T:
        """As :meth:`add`; removing what is not there changes nothing."""
        with self._lock:
            after = self.current.without_rule(kind, peer)
            approval = approve(self.current, after)
            self._store.write(lambda txn: self._rows.delete(txn, rule_key(kind, peer))).result()
            self._kept.pop((kind, peer), None)
            self.current = after
        return approval


def rule_key(kind: Kind, peer: str) -> bytes:
    return f"{kind}/{peer}".encode()
