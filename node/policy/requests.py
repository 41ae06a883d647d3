"""Requests for what a policy grants on request, and what the owner's people have said to them."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from typing import Literal

import msgspec
from atoll.node.store.environment import Store
from atoll.protocol.ask import MAX_WORDS, ActState
from atoll.protocol.errors import NotFound, PolicyDenied, ProtocolError
from atoll.protocol.ids import peer_id
from atoll.protocol.limits import DAY
from atoll.protocol.policy import ACTS, Act

PENDING = 100  # of one peer at a time
AGAIN = DAY  # after which one that was denied may be made again
Verdict = Literal["pending", "granted", "denied", "revoked"]


class RequestRow(msgspec.Struct, frozen=True):
    """One peer's request for one act with one learnware; ``until`` is when a grant ends, 0 without one."""

    federation: bytes
    learnware_id: bytes
    peer: bytes
    act: Act
    words: str
    user: str
    asked_at: int
    state: Verdict = "pending"
    decided_at: int = 0
    until: int = 0

    @property
    def key(self) -> bytes:
        return self.federation + self.learnware_id + self.peer + bytes([ACTS.index(self.act)])

    @property
    def id(self) -> str:
        """Short enough to type."""
        return hashlib.sha256(self.key).hexdigest()[:12]

    def in_force(self, now: int) -> bool:
        """Whether it is a grant, and has not ended."""
        return self.state == "granted" and now < self.until

    def state_at(self, now: int) -> ActState:
        ended = self.state == "granted" and now >= self.until
        return ActState(self.act, "expired" if ended else self.state, self.until)


class Requests:
    """Thread-safe; returns after commit."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows = store.table("requests", RequestRow)
        self._lock = threading.Lock()
        with store.view() as txn:
            self._held = {row.key: row for _, row in self._rows.scan(txn)}
        self._of_peer: defaultdict[tuple[bytes, Act], dict[bytes, RequestRow]] = defaultdict(dict)
        for row in self._held.values():
            self._of_peer[row.peer, row.act][row.key] = row

    def all(self) -> list[RequestRow]:
        """The newest first."""
        with self._lock:
            return sorted(self._held.values(), key=lambda row: -row.asked_at)

    def waiting(self) -> int:
        """How many nobody has answered yet."""
        with self._lock:
            return sum(row.state == "pending" for row in self._held.values())

    def find(self, federation: bytes, learnware_id: bytes, peer: bytes, act: Act) -> RequestRow | None:
        with self._lock:
            return self._held.get(federation + learnware_id + peer + bytes([ACTS.index(act)]))

    def granted(self, federation: bytes, learnware_id: bytes, peer: bytes, act: Act, now: int) -> bool:
        """Whether there is a grant in force."""
        row = self.find(federation, learnware_id, peer, act)
        return row is not None and row.in_force(now)

    def granted_to(self, peer: bytes, act: Act, now: int) -> set[tuple[bytes, bytes]]:
        """The (federation, learnware id) of all grants in force."""
        with self._lock:
            rows = self._of_peer.get((peer, act), {}).values()
            return {(row.federation, row.learnware_id) for row in rows if row.in_force(now)}

    def make(self, row: RequestRow, now: int) -> None:
        """Keep a request, unless one waits or is granted already; PolicyDenied while one was denied a short while ago,
        or the peer has too many waiting."""
        if len(row.words) > MAX_WORDS:
            raise ProtocolError(f"a request has at most {MAX_WORDS} characters")
        with self._lock:
            known = self._held.get(row.key)
            if known is not None and known.state_at(now).state in ("pending", "granted"):
                return
            if known is not None and known.state in ("denied", "revoked") and now < known.decided_at + AGAIN:
                raise PolicyDenied(f"the owner has said no to {row.act}", hint="ask again tomorrow, with a reason")
            waiting = sum(each.peer == row.peer and each.state == "pending" for each in self._held.values())
            if waiting >= PENDING:
                raise PolicyDenied(f"{PENDING} requests of {peer_id(row.peer)} are waiting already")
            self._put(row)

    def decide(self, id_: str, state: Verdict, now: int, until: int = 0) -> RequestRow:
        """Grant, deny or revoke; NotFound for an unknown id."""
        with self._lock:
            row = next((row for row in self._held.values() if row.id == id_), None)
            if row is None:
                raise NotFound(f"no request {id_}", hint="see `atoll request list`")
            decided = msgspec.structs.replace(row, state=state, decided_at=now, until=until)
            self._put(decided)
            return decided

    def _put(self, row: RequestRow) -> None:
        self._store.write(lambda txn: self._rows.put(txn, row.key, row)).result()
        self._held[row.key] = self._of_peer[row.peer, row.act][row.key] = row
