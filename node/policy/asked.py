"""What this node's users have asked of other owners, and how that stood when their owner was last heard of it.

An owner alone knows what it has decided, and nobody is told unasked; so what is kept here says when it was told.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from atoll.node.store.environment import Store, Transaction
from atoll.protocol.ask import ActState, State
from atoll.protocol.listings import Listing
from atoll.protocol.policy import ACTS, Act, Grants

MOST = 1000  # kept: what has ended makes room first, then what the same user asked longest ago

GOING_ON = ("pending", "granted", "open")


class AskedRow(msgspec.Struct, frozen=True):
    """One act with one learnware of another owner; ``user`` is the token that asked, ``until`` when a grant ends, and
    ``told_at`` when its owner last said so (ms)."""

    federation: bytes
    owner: bytes
    learnware_id: bytes
    act: Act
    name: str
    user: str
    asked_at: int
    state: State
    until: int
    told_at: int

    @property
    def place(self) -> bytes:
        return self.federation + self.owner + self.learnware_id

    @property
    def key(self) -> bytes:
        return self.place + bytes([ACTS.index(self.act)])

    def state_at(self, now: int) -> ActState:
        ended = self.state == "granted" and now >= self.until
        return ActState(self.act, "expired" if ended else self.state, self.until)


class Asked:
    """Thread-safe; returns after commit. Nobody who reads waits for what is being written."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows = store.table("asked", AskedRow)
        self._writing = threading.Lock()
        with store.view() as txn:
            self._held: Mapping[bytes, AskedRow] = dict(self._rows.scan(txn))  # replaced as a whole, never changed

    def all(self) -> list[AskedRow]:
        """The newest first."""
        return sorted(self._held.values(), key=lambda row: (-row.asked_at, row.key))

    def of(self, listing: Listing) -> list[AskedRow]:
        """What was asked by this listing."""
        held = self._held
        found = (held.get(listing.place + bytes([act])) for act in range(len(ACTS)))
        return [row for row in found if row is not None]

    def granted(self, now: int) -> Grants:
        """What owners have granted and has not ended, as they said last: for all signed-in users of this node."""
        found: dict[bytes, set[Act]] = defaultdict(set)
        for row in self._held.values():
            if row.state_at(now).state == "granted":
                found[row.place].add(row.act)
        return {place: frozenset(acts) for place, acts in found.items()}

    def note(
        self, listing: Listing, user: str, acts: Iterable[Act], states: Sequence[ActState], now: int
    ) -> None:  # fmt: skip
        """Keep how things stand, as the owner says, with the acts that were asked for now or before."""
        with self._writing:
            rows = [row for each in states if (row := self._row(listing, user, acts, each, now)) is not None]
            if not rows:
                return
            held = {**self._held, **{row.key: row for row in rows}}
            dropped = sorted(held, key=lambda key: _worth(held[key], user, now))[: max(0, len(held) - MOST)]

            def write(txn: Transaction) -> None:
                for row in rows:
                    self._rows.put(txn, row.key, row)
                for key in dropped:
                    self._rows.delete(txn, key)

            self._store.write(write).result()
            for key in dropped:
                del held[key]
            self._held = held

    def _row(self, listing: Listing, user: str, acts: Iterable[Act], told: ActState, now: int) -> AskedRow | None:
        known = self._held.get(listing.place + bytes([ACTS.index(told.act)]))
        if told.act in acts and told.state != "open" and (known is None or known.state != "pending"):
            return AskedRow(
                listing.federation, listing.owner, listing.learnware_id, told.act, listing.semantic.name, user, now,
                told.state, told.until, now,
            )  # fmt: skip
        if known is None:
            return None
        return msgspec.structs.replace(known, state=told.state, until=told.until, told_at=now)


def _worth(row: AskedRow, user: str, now: int) -> tuple[bool, bool, int]:
    """The least first: what makes room for another request of this user."""
    return row.state_at(now).state in GOING_ON, row.user != user, row.asked_at
