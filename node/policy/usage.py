"""What was done with each learnware, by whom, by UTC day: for quotas, and for the owner to see.

Kept in memory for today and written without waiting: after a crash the last few milliseconds may be missing.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterable
from itertools import takewhile

import msgspec
from atoll.node.store.environment import Store, Transaction
from atoll.protocol.errors import QuotaExceeded
from atoll.protocol.ids import peer_id, public_key
from atoll.protocol.limits import DAY
from atoll.protocol.policy import ACTS, Act, Asker, Rule

KEPT_DAYS = 400
USERS, OTHERS = 10_000, bytes(8)  # told apart of one peer on one day, and what the rest count as


class Use(msgspec.Struct, frozen=True):
    """How much one peer has done with a learnware on one day (ms, its midnight UTC)."""

    day: int
    federation: str
    peer_id: str
    act: Act
    amount: int


class UseToday(msgspec.Struct, frozen=True):
    """What one peer has done with a learnware since midnight UTC, and how much of that which of its users: by the hash
    under which users are counted (hex)."""

    federation: bytes
    learnware_id: bytes
    peer: bytes
    act: Act
    amount: int
    users: dict[str, int]


Taken = tuple[tuple[bytes, int], ...]  # what was counted, by key


class Usage:
    """Thread-safe."""

    def __init__(self, store: Store, now: int) -> None:
        self._store = store
        self._rows = store.table("usage", int)
        self._lock = threading.Lock()
        self._day = now // DAY
        self._peers: Counter[bytes] = Counter()
        self._users: Counter[bytes] = Counter()
        self._named: dict[bytes, set[bytes]] = {}
        with store.view() as txn:
            oldest = max(0, self._day - KEPT_DAYS).to_bytes(4, "big")
            old = [key for key, _ in takewhile(lambda row: row[0] < oldest, self._rows.scan(txn))]
            for key, amount in self._rows.scan(txn, self._day.to_bytes(4, "big")):
                self._users[key] = amount
                self._peers[key[:-8]] += amount
                self._named.setdefault(key[69:101], set()).add(key[-8:])
        if old:
            store.write(lambda txn: [self._rows.delete(txn, key) for key in old])

    def take(self, act: Act, asker: Asker, amounts: Iterable[tuple[bytes, bytes, Rule, int]], now: int) -> Taken:
        """Count (federation, learnware id, rule, amount) for an asker; QuotaExceeded, and then nothing is counted."""
        with self._lock:
            self._begin_day(now // DAY)
            who = self._who(asker)
            wanted = [(self._key(act, who, fed, id_), rule, amount) for fed, id_, rule, amount in amounts]
            for key, rule, amount in wanted:
                self._require(act, self._peers[key[:-8]] + amount, rule.per_peer, "your institution", now)
                self._require(act, self._users[key] + amount, rule.per_user, "you", now)
            taken = tuple((key, amount) for key, _, amount in wanted if amount)
            self._add(taken)
        return taken

    def give_back(self, taken: Taken) -> None:
        """Count it no more. Of a day that is over it stays."""
        with self._lock:
            today = self._day.to_bytes(4, "big")
            self._add(tuple((key, -amount) for key, amount in taken if key[:4] == today))

    def _add(self, amounts: Taken) -> None:
        """The lock is held, so that what is written last is what was counted last."""
        for key, amount in amounts:
            self._peers[key[:-8]] += amount
            self._users[key] += amount
        if amounts:
            changed = {key: self._users[key] for key, _ in amounts}
            self._store.write(lambda txn: self._write(txn, changed))

    def used(self, act: Act, asker: Asker, federation: bytes, learnware_id: bytes, now: int) -> int:
        """How much a user has done today."""
        with self._lock:
            self._begin_day(now // DAY)
            return self._users[self._key(act, self._who(asker), federation, learnware_id)]

    def left(self, act: Act, asker: Asker, federation: bytes, learnware_id: bytes, rule: Rule, now: int) -> int | None:
        """How much an asker may still do today; None without a quota."""
        if rule.per_peer is None and rule.per_user is None:
            return None
        with self._lock:
            self._begin_day(now // DAY)
            key = self._key(act, self._who(asker), federation, learnware_id)
            rest = [
                quota - used
                for quota, used in ((rule.per_peer, self._peers[key[:-8]]), (rule.per_user, self._users[key]))
                if quota is not None
            ]
        return max(0, min(rest))

    def of(self, learnware_id: bytes) -> list[Use]:
        """Everything that was done with a learnware, by day, federation, peer and act; users are not told apart."""
        found: Counter[tuple[int, str, str, Act]] = Counter()
        with self._store.view() as txn:
            for key, amount in self._rows.scan(txn):
                if key[36:68] == learnware_id:
                    day = int.from_bytes(key[:4], "big") * DAY
                    found[day, key[4:36].hex(), peer_id(key[69:101]), ACTS[key[68]]] += amount
        return [Use(*of, amount) for of, amount in sorted(found.items()) if amount]

    def since(self, at: int, now: int) -> Counter[tuple[int, bytes, Act]]:
        """What was done on each day (ms, its midnight UTC) from ``at`` on with each learnware, by whomever."""
        found: Counter[tuple[int, bytes, Act]] = Counter()
        with self._store.view() as txn:
            for day in range(at // DAY, now // DAY + 1):
                for key, amount in self._rows.scan(txn, day.to_bytes(4, "big")):
                    found[day * DAY, key[36:68], ACTS[key[68]]] += amount
        return found

    def today(self, now: int) -> list[UseToday]:
        """What each peer has done today with each learnware."""
        with self._lock:
            self._begin_day(now // DAY)
            found: dict[bytes, dict[str, int]] = {}
            for key, amount in self._users.items():
                if amount > 0:
                    found.setdefault(key[:-8], {})[key[-8:].hex()] = amount
            return [
                UseToday(key[4:36], key[36:68], key[69:101], ACTS[key[68]], self._peers[key], users)
                for key, users in found.items()
            ]

    def _key(self, act: Act, who: bytes, federation: bytes, learnware_id: bytes) -> bytes:
        """Day, federation, learnware, act, and who."""
        return self._day.to_bytes(4, "big") + federation + learnware_id + bytes([ACTS.index(act)]) + who

    def _who(self, asker: Asker) -> bytes:
        """The peer, and 8 bytes for the user: a peer names them as it likes, so beyond a number all of its others count
        as one."""
        peer, user = public_key(asker.peer), hashlib.sha256(asker.user.encode()).digest()[:8]
        known = self._named.setdefault(peer, set())
        if user not in known and len(known) >= USERS:
            user = OTHERS
        known.add(user)
        return peer + user

    def _begin_day(self, day: int) -> None:
        if day > self._day:  # a clock that was set back does not give yesterday's quotas again
            self._day = day
            self._peers.clear()
            self._users.clear()
            self._named.clear()

    def _require(self, act: Act, amount: int, quota: int | None, whose: str, now: int) -> None:
        if quota is not None and amount > quota:
            hours = (DAY - now % DAY) / (DAY / 24)
            raise QuotaExceeded(
                f"the owner lets {whose} {act} {quota} a day with this learnware, this would be {amount}",
                hint=f"the day (UTC) ends in {hours:.1f} hours",
            )

    def _write(self, txn: Transaction, changed: dict[bytes, int]) -> None:
        for key, amount in changed.items():
            self._rows.put(txn, key, amount)
