"""When this node first saw a specification that a listing has now: the only time about it that nobody can forge.

Beside the time stands what was seen. A listing keeps its time in an island for as long as its sketch there is that one,
to rounding, however often it is signed anew; a chain of small steps begins a new time. So does a new key, except one to
which the membership was handed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from atoll.engine.matching import unchanged
from atoll.node.store.environment import Store, Transaction
from atoll.protocol import limits
from atoll.protocol.listings import Listing, SpecSummary

Key = tuple[bytes, bytes, bytes]  # federation, owner, learnware
Times = dict[bytes, int]  # by island; the listing itself under NOWHERE
NOWHERE = b""
PROBATION = 30 * limits.DAY  # of a key in a federation where keys are free
SETTLING = 7 * limits.DAY  # whoever was there when this node came, or soon after, was there before


class Seen(msgspec.Struct, frozen=True):
    at: int
    specification: SpecSummary


class Sighting(msgspec.Struct, frozen=True):
    """When a listing was first seen, and since when its specifications are what they are."""

    at: int
    specifications: tuple[Seen, ...]

    def times(self) -> Times:
        return {NOWHERE: self.at, **{each.specification.island: each.at for each in self.specifications}}


class Sightings:
    """Times in memory, what was seen in the store. Not thread-safe: the catalogue locks."""

    def __init__(self, store: Store) -> None:
        self._table = store.table("sightings", Sighting)
        self._times: dict[Key, Times] = {}
        self._owners: dict[bytes, dict[bytes, int]] = {}  # federation -> owner -> since when it lists anything

    def newcomer(self, federation: bytes, owner: bytes, now: int) -> bool:
        """Whether an owner has been listing in a federation for less than a month, and others for longer."""
        owners = self._owners.get(federation, {})
        since = owners.get(owner, 0)
        return now - since < PROBATION and since - min(owners.values(), default=0) > SETTLING

    def first(self, key: Key, island: bytes) -> int:
        """When a listing was first seen as it is in an island; 0 if that was before anything was noted."""
        return self._times.get(key, {}).get(island, 0)

    def load(self, txn: Transaction, federation: bytes) -> None:
        for key, row in self._table.scan(txn, federation):
            self._keep((key[:32], key[32:64], key[64:]), row.times())

    def write(
        self, txn: Transaction, news: Iterable[Listing], gone: Iterable[Key], before: list[bytes], now: int
    ) -> dict[Key, Times]:
        """Note what has come and forget what has gone; the times to :meth:`keep` after the commit. ``before`` are the
        keys that the owner has had before this one."""
        for key in gone:
            self._table.delete(txn, b"".join(key))
        times = {}
        for listing in news:
            if listing.status != "withdrawn":
                row = _seen(listing, list(self._earlier(txn, listing, before)), now)
                key = (listing.federation, listing.owner, listing.learnware_id)
                self._table.put(txn, b"".join(key), row)
                times[key] = row.times()
        return times

    def keep(self, times: dict[Key, Times], gone: Iterable[Key]) -> None:
        """Take in memory what :meth:`write` has written."""
        for key in gone:
            self._times.pop(key, None)
        for key, seen in times.items():
            self._keep(key, seen)

    def forget(self, txn: Transaction, federation: bytes) -> None:
        """A federation was left."""
        self._table.clear(txn, federation)
        self._times = {key: times for key, times in self._times.items() if key[0] != federation}
        self._owners.pop(federation, None)

    def _keep(self, key: Key, times: Times) -> None:
        self._times[key] = times
        owners = self._owners.setdefault(key[0], {})
        owners[key[1]] = min(owners.get(key[1], times[NOWHERE]), times[NOWHERE])

    def _earlier(self, txn: Transaction, listing: Listing, before: list[bytes]) -> Iterator[Sighting]:
        for owner in (listing.owner, *before):
            row = self._table.get(txn, listing.federation + owner + listing.learnware_id)
            if row is not None:
                yield row


def _seen(listing: Listing, earlier: list[Sighting], now: int) -> Sighting:
    known = [each for row in earlier for each in row.specifications]
    specifications = []
    for spec in listing.specifications:
        same = [each for each in known if each.specification.island == spec.island and _shows(each.specification, spec)]
        specifications.append(min(same, key=lambda each: each.at, default=Seen(now, spec)))
    return Sighting(min((row.at for row in earlier), default=now), tuple(specifications))


def _shows(old: SpecSummary, new: SpecSummary) -> bool:
    return unchanged(old.to_sketch(), new.to_sketch())
