"""The catalogue's sketches in memory, by island: what round 0 of a search ranks. Kept current by its changes."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from atoll.engine.matching import SketchIndex
from atoll.engine.specs.sketch import Sketch
from atoll.node.search.standing import Row, Standing, Standings
from atoll.node.store.catalogue import Catalogue
from atoll.protocol.listings import Listing
from numpy.typing import NDArray

FRESH_MS = 2000  # what expires with time and without an event is shown so much longer, at most

Owned = tuple[bytes, bytes]  # federation, owner


@dataclass(frozen=True)
class Placed:
    """The listings of an island that may be seen. ``groups`` (n,) numbers their (federation, owner) in ``owners``;
    ``noised`` (n,): the sketch is one under differential privacy; ``slots`` (n,) is where the index has it."""

    rows: tuple[Row, ...]
    groups: NDArray[np.int64]
    owners: tuple[Owned, ...]
    noised: NDArray[np.bool_]
    slots: NDArray[np.int64]
    made_at: int


class Doubts(NamedTuple):
    """What searches hold against a listing, in whichever of its islands, whatever is asked (search.standing)."""

    hub: bool
    odd: bool
    new: bool


@dataclass(frozen=True)
class Nearest:
    """The ``places`` (k,) of what is wanted of ``placed``, nearest first, their estimated MMD^2 (k,), and to which of
    them (numbers from 0 to k) the best mixture of sketches gives weight. ``standing`` is that of all of ``placed``."""

    placed: Placed
    places: NDArray[np.int64]
    mmd2: NDArray[np.float64]
    support: tuple[int, ...]
    standing: Standing


class CatalogueSketches:
    """Thread-safe. What changes is noted at once and taken in by the next search, owner by owner."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._lock = threading.Lock()
        self._indexes: defaultdict[bytes, SketchIndex] = defaultdict(SketchIndex)
        self._held: dict[Owned, dict[bytes, Listing]] = {}
        self._numbers: dict[Owned, int] = {}
        self._placed: dict[bytes, Placed] = {}
        self._standings = Standings(catalogue)
        self._noted = threading.Lock()
        self._changed: set[Owned] = set()
        catalogue.on_change(self._note)
        for owned in catalogue.owners():
            self._note(*owned)

    def close(self) -> None:
        """Returns when nothing goes on in the background."""
        self._standings.wait()

    def first_seen(self, listing: Listing) -> int:
        return self._catalogue.first_seen(listing)

    def nearest(self, island: bytes, asked: Sketch, wanted: Callable[[Listing], bool] | None, now: int) -> Nearest:
        """What an island holds, of that only what is ``wanted``; ties by federation, owner and learnware."""
        with self._lock:
            self._take_in()
            placed = self._fresh(island, now)
            index, places = self._indexes[island], np.arange(len(placed.rows))
            if wanted is not None:
                places = places[np.array([wanted(listing) for listing, _ in placed.rows], np.bool_)]
            standing = self._standings.of(island, placed.rows, now)
            if not len(places):
                return Nearest(placed, places, np.zeros(0), (), standing)
            distances = index.distances_to(asked, placed.slots[places])
            order = np.argsort(distances, kind="stable")
            places, distances = places[order], distances[order]
            sound = np.flatnonzero(standing.sound(places))  # many copies of one make the program singular
            support = sound[index.support(asked, placed.slots[places[sound]])] if len(sound) else sound
        return Nearest(placed, places, distances, tuple(sorted(support.tolist())), standing)

    def doubts(self, listings: Sequence[Listing], now: int) -> list[Doubts]:
        """Of each; blocking, as :meth:`nearest` is."""
        found = {(each.federation, each.owner, each.learnware_id): Doubts(False, False, False) for each in listings}
        with self._lock:
            self._take_in()
            for island in {spec.island for each in listings for spec in each.specifications}:
                placed = self._fresh(island, now)
                standing = self._standings.of(island, placed.rows, now)
                for place, (each, _) in enumerate(placed.rows):
                    key = (each.federation, each.owner, each.learnware_id)
                    if key in found:
                        flags = (standing.hub[place], standing.odd[place], standing.new[place])
                        found[key] = Doubts(*(bool(old or new) for old, new in zip(found[key], flags, strict=True)))
        return list(found.values())

    def _fresh(self, island: bytes, now: int) -> Placed:
        placed = self._placed.get(island)
        if placed is None or not 0 <= now - placed.made_at < FRESH_MS:
            placed = self._placed[island] = self._place(island, now)
        return placed

    def _note(self, federation: bytes, owner: bytes) -> None:
        """An owner's log changed, or with owner b"" anything in a federation, which may have been left."""
        with self._noted:
            self._changed.add((federation, owner))

    def _take_in(self) -> None:
        with self._noted:
            changed, self._changed = self._changed, set()
        if not changed:
            return
        whole = {federation for federation, owner in changed if not owner}
        changed = {each for each in changed if each[1]} | {each for each in self._held if each[0] in whole}
        self._placed.clear()
        left = changed | {each for each in self._catalogue.owners() if each[0] in whole}
        try:
            while left:
                self._follow(next(iter(left)))
                left.pop()
        finally:
            with self._noted:
                self._changed |= left

    def _follow(self, owned: Owned) -> None:
        old = self._held.pop(owned, {})
        new = {listing.learnware_id: listing for listing in self._catalogue.of_owner(*owned)}
        if new:
            self._held[owned] = new
        added: defaultdict[bytes, dict[str, Sketch]] = defaultdict(dict)
        for id_, listing in old.items():
            if new.get(id_) is not listing:
                for spec in listing.specifications:
                    self._indexes[spec.island].remove(self._name(listing))
        for id_, listing in new.items():
            if old.get(id_) is not listing:
                for spec in listing.specifications:
                    added[spec.island][self._name(listing)] = spec.to_sketch()
        for island, sketches in added.items():
            self._indexes[island].update(sketches)

    def _place(self, island: bytes, now: int) -> Placed:
        listings, before = self._catalogue.in_island(island, now), self._placed.get(island)
        if before is not None and [id(listing) for listing, _ in before.rows] == [id(each) for each in listings]:
            return replace(before, made_at=now)
        named = [
            ((listing, spec), name)
            for listing in listings
            for spec in listing.specifications
            if spec.island == island and (name := self._name(listing)) in self._indexes[island]
        ]  # what came since the taking in is in the next search
        rows = tuple(row for row, _ in named)
        owners: dict[Owned, int] = {}
        groups = [owners.setdefault((listing.federation, listing.owner), len(owners)) for listing, _ in rows]
        noised = np.array([spec.dp is not None for _, spec in rows], np.bool_)
        slots = self._indexes[island].slots([name for _, name in named])
        return Placed(rows, np.array(groups, np.int64), tuple(owners), noised, slots, now)

    def _name(self, listing: Listing) -> str:
        number = self._numbers.setdefault((listing.federation, listing.owner), len(self._numbers))
        return f"{listing.learnware_id.hex()}{number:x}"
