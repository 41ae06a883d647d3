"""What this node lists in one island of one federation, ready for queries: RKMEs, their stand-ins, listed sketches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from atoll.engine.matching import RkmeIndex, SketchIndex
from atoll.engine.matching.oracle import nearest_told
from atoll.engine.matching.ranking import Ranking, ranking
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.sketch import Sketch
from atoll.protocol.listings import Listing, SpecSummary
from atoll.protocol.policy import Policy


@dataclass(frozen=True, eq=False)
class Entry:
    """A listed learnware with the RKME that its listing commits to, and the salt of that commitment."""

    listing: Listing
    summary: SpecSummary
    policy: Policy
    rkme: Rkme
    salt: bytes

    @property
    def id(self) -> str:
        return self.listing.learnware_id.hex()


class Group:
    """The entries under one policy: most have the same one, so that it is looked at once."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self._listings: tuple[Listing, ...] | None = None

    @property
    def listings(self) -> tuple[Listing, ...]:
        if self._listings is None:
            self._listings = tuple(entry.listing for entry in self.entries.values())
        return self._listings

    def put(self, id_: str, entry: Entry) -> None:
        self.entries[id_], self._listings = entry, None

    def drop(self, id_: str) -> None:
        del self.entries[id_]
        self._listings = None

    def of(self, listings: Sequence[Listing]) -> dict[str, Entry]:
        """The entries of these listings, which are all of the group's or some."""
        if len(listings) == len(self.entries):
            return self.entries
        return {id_: self.entries[id_] for id_ in (each.learnware_id.hex() for each in listings)}


class Shelf:
    """Many may rank at a time while nobody changes it. Rankings are ascending, ties by id."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.groups: defaultdict[Policy, Group] = defaultdict(Group)
        self._rkmes = RkmeIndex()
        self._stand_ins = RkmeIndex()
        self._made: dict[str, Rkme] = {}
        self._sketches = SketchIndex()

    def follow(self, wanted: Mapping[str, Entry]) -> None:
        """Hold these and nothing else; an entry that is the same object is left as it is."""
        for id_ in [id_ for id_, entry in self.entries.items() if wanted.get(id_) is not entry]:
            self._drop(id_)
        new = {id_: entry for id_, entry in wanted.items() if id_ not in self.entries}
        for id_, entry in new.items():
            self.entries[id_] = entry
            self.groups[entry.policy].put(id_, entry)
            self._rkmes.add(id_, entry.rkme)
        self._sketches.update({id_: entry.summary.to_sketch() for id_, entry in new.items()})

    def stand_in(self, find: Callable[[Rkme], Rkme | None]) -> None:
        """Take in the stand-ins that there are by now."""
        for id_ in [id_ for id_ in self.entries if id_ not in self._stand_ins]:
            found = find(self.entries[id_].rkme)
            if found is not None:
                self._stand_ins.add(id_, found)
                self._made[id_] = found

    def stand_in_of(self, id_: str) -> Rkme | None:
        """What of a listed RKME may go to whoever matches it, if its listing is of that: None where it is not made, or
        where the listing is of the RKME itself, which others may have."""
        entry = self.entries[id_]
        return None if entry.policy.offers.discloses else self._made.get(id_)

    def without_stand_in(self, ids: Collection[str]) -> list[str]:
        """Those of which nothing can be told yet to whom their RKMEs are not disclosed."""
        return [id_ for id_ in ids if id_ not in self._stand_ins]

    def nearest(self, query: Rkme, among: Collection[str], limit: int) -> Ranking:
        """By the exact distance."""
        return self._rkmes.nearest(query, limit, among=_part(among, self._rkmes))

    def nearest_told(self, query: Rkme, among: Collection[str], limit: int) -> Ranking:
        """By what is told of the distance where the RKME is not disclosed; all of them need stand-ins."""
        return nearest_told(query, self._stand_ins, limit, among=_part(among, self._stand_ins))

    def nearest_listed(self, query: Sketch, among: Collection[str], limit: int) -> Ranking:
        """By the distance of sketches."""
        ids = list(among)
        if not ids:
            return [], np.zeros(0)
        return ranking(ids, self._sketches.distances_to(query, self._sketches.slots(ids)), limit)

    def _drop(self, id_: str) -> None:
        policy = self.entries.pop(id_).policy
        self.groups[policy].drop(id_)
        if not self.groups[policy].entries:
            del self.groups[policy]
        self._rkmes.remove(id_)
        self._stand_ins.remove(id_)
        self._made.pop(id_, None)
        self._sketches.remove(id_)


def _part(among: Collection[str], index: RkmeIndex) -> Collection[str] | None:
    """All is scanned faster where it is not picked out."""
    return None if len(among) == len(index) else among
