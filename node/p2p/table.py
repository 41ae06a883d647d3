"""The table of peers in memory: bounded, the least useful give way, changes kept in the store a second later."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Literal

import msgspec
from atoll.node.store.peers import PeerRow, PeerRows

MAX_PEERS = 4096
Standing = Literal["known", "connected", "member", "unreachable", "refused", "denied"]
Rank = tuple[bool, bool, int, int]  # proven, seen, minus failures, last seen: the lowest gives way first
HEARSAY: Rank = (False, False, 0, 0)


class Lag(msgspec.Struct, frozen=True):
    """At ``at``, ``behind`` logs that we know stood lower at the peer, or were missing, and ``ahead`` stood higher."""

    behind: int
    ahead: int
    at: int


class PeerState(PeerRow):
    """A row and what is known of this run: connection, proven federations, traffic in bytes, lags by federation.

    ``configured`` are addresses of the configuration; ``why`` says why the peer was dropped, refused or denied;
    ``turn`` is that of the hello, or of the loss, that said last what is shared; ``ahead`` is by how many ms the
    peer's clock was ahead at its last hello.
    """

    state: Standing = "known"
    why: str = ""
    shared: frozenset[bytes] = frozenset()
    turn: int = 0
    configured: tuple[str, ...] = ()
    bytes_in: int = 0
    bytes_out: int = 0
    lags: dict[bytes, Lag] = msgspec.field(default_factory=dict)
    ahead: int | None = None

    @property
    def places(self) -> tuple[str, ...]:
        """Every address to try, best first."""
        return tuple(dict.fromkeys(filter(None, (self.worked, *self.configured, *self.addresses, *self.hearsay))))

    @property
    def own_places(self) -> tuple[str, ...]:
        """What may be told to others: no hearsay."""
        return tuple(dict.fromkeys(filter(None, (self.worked, *self.addresses))))

    @property
    def rank(self) -> Rank:
        return (self.proven, self.last_seen > 0, -self.failures, self.last_seen)

    @property
    def stays(self) -> bool:
        """Whether it never gives way."""
        return bool(self.configured) or self.state in ("connected", "member")


class PeerTable:
    """Use it under ``lock``. A peer that has to give way, as one that is dropped, leaves the store too."""

    def __init__(self, rows: PeerRows, limit: int = MAX_PEERS) -> None:
        self.lock = threading.RLock()
        self._rows = rows
        self._limit = limit
        self._states = {row.peer: _restored(row) for row in rows.load()}
        self._changed: set[str] = set()
        self._gone: set[str] = set()

    def __iter__(self) -> Iterator[PeerState]:
        return iter(self._states.values())

    def get(self, peer: str) -> PeerState | None:
        return self._states.get(peer)

    def make(self, peer: str, rank: Rank) -> PeerState | None:
        """The peer's state, new if need be; None if the table is full of peers that are of more use than ``rank``."""
        state = self._states.get(peer)
        if state is None and (len(self._states) < self._limit or self._evict(rank)):
            state = self._states[peer] = PeerState(peer)
            self._gone.discard(peer)
        return state

    def keep(self, peer: str) -> None:
        """Have the peer's row written with the next ``flush``."""
        self._changed.add(peer)

    def drop(self, peer: str) -> bool:
        """Whether there was such a peer."""
        self._gone.add(peer)
        return self._states.pop(peer, None) is not None

    def flush(self) -> None:
        """Queue one write of all changes since the last; costs nothing if there are none."""
        with self.lock:
            rows = [_row(self._states[peer]) for peer in self._changed if peer in self._states]
            if rows or self._gone:
                self._rows.save(rows, self._gone)
            self._changed, self._gone = set(), set()

    def forget(self, peer: str) -> bool:
        """Whether there was such a peer; returns after commit."""
        with self.lock:
            known = self.drop(peer)
        self._rows.delete(peer)
        return known

    def _evict(self, rank: Rank) -> bool:
        movable = (state for state in self._states.values() if not state.stays)
        least = min(movable, key=lambda state: state.rank, default=None)
        if least is None or least.rank >= rank:
            return False
        return self.drop(least.peer)


def _row(state: PeerState) -> PeerRow:
    return PeerRow(**{field: getattr(state, field) for field in PeerRow.__struct_fields__})


def _restored(row: PeerRow) -> PeerState:
    state = PeerState(**{field: getattr(row, field) for field in PeerRow.__struct_fields__})
    state.state = "unreachable" if state.failures else "known"
    return state
