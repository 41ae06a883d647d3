"""The catalogue's sketches in memory, by island: what round 0 of a search ranks. Kept current by its changes."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from atoll.engine.matching import SketchIndex
from atoll.engine.specs.sketch import Sketch
from atoll.node.store.catalogue import Catalogue
from atoll.protocol.listings import Listing, SpecSummary
from numpy.typing import NDArray

FRESH_MS = 2000  # what expires with time and without an event is shown so much longer, at most

Owned = tuple[bytes, bytes]  # federation, owner
Row = tuple[Listing, SpecSummary]


@dataclass(frozen=True)
class Placed:
    """The listings of an island that may be seen. ``groups`` (n,) numbers their (federation, owner) in ``owners``;
    ``noised`` (n,): the sketch is one under differential privacy."""

    rows: tuple[Row, ...]
    names: tuple[str, ...]
    groups: NDArray[np.int64]
    owners: tuple[Owned, ...]
    noised: NDArray[np.bool_]
    made_at: int


class CatalogueSketches:
    """Thread-safe. What changes is noted at once and taken in by the next search, owner by owner."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._lock = threading.Lock()
        self._indexes: defaultdict[bytes, SketchIndex] = defaultdict(SketchIndex)
        self._held: dict[Owned, dict[bytes, Listing]] = {}
        self._numbers: dict[Owned, int] = {}
        self._placed: dict[bytes, Placed] = {}
        self._noted = threading.Lock()
        self._changed: set[Owned] = set()
        catalogue.on_change(self._note)
        for owned in catalogue.owners():
            self._note(*owned)

    def placed(self, island: bytes, now: int) -> Placed:
        """What an island holds, by (federation, owner, learnware)."""
        with self._lock:
            self._take_in()
            known = self._placed.get(island)
            if known is None or not 0 <= now - known.made_at < FRESH_MS:
                known = self._placed[island] = self._place(island, now)
            return known

    def distances(self, island: bytes, asked: Sketch, placed: Placed) -> NDArray[np.float64]:
        """Estimated MMD^2 (n,) to what was placed; infinite for what has gone since."""
        with self._lock:
            return self._indexes[island].distances_to(asked, placed.names)

    def support(self, island: bytes, asked: Sketch, names: Sequence[str]) -> tuple[int, ...]:
        """Places among ``names`` (nearest first) to which the best mixture of all of them gives weight."""
        with self._lock:
            index = self._indexes[island]
            here = [place for place, name in enumerate(names) if name in index]
            found = index.support(asked, [names[place] for place in here]) if here else ()
            return tuple(sorted(here[place] for place in found))

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
        for owned in changed | {each for each in self._catalogue.owners() if each[0] in whole}:
            self._follow(owned)
        self._placed.clear()

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
        rows = [
            (listing, spec)
            for listing in self._catalogue.in_island(island, now)
            for spec in listing.specifications
            if spec.island == island
        ]
        names = tuple(self._name(listing) for listing, _ in rows)
        owners: dict[Owned, int] = {}
        groups = [owners.setdefault((listing.federation, listing.owner), len(owners)) for listing, _ in rows]
        noised = np.array([spec.dp is not None for _, spec in rows], np.bool_)
        return Placed(tuple(rows), names, np.array(groups, np.int64), tuple(owners), noised, now)

    def _name(self, listing: Listing) -> str:
        number = self._numbers.setdefault((listing.federation, listing.owner), len(self._numbers))
        return f"{listing.learnware_id.hex()}{number:x}"
