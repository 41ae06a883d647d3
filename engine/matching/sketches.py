"""Sketch matching: what a node can rank with nothing but gossiped summaries.

A scan up to ``approximate_above`` sketches; beyond, inverted lists find the candidates. Not thread-safe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from atoll.engine.matching.candidates import support_of
from atoll.engine.matching.lists import InvertedLists
from atoll.engine.matching.ranking import Ranking, ranking
from atoll.engine.matching.sketch_table import SketchTable, check_length
from atoll.engine.specs.sketch import BLOCK, SCALE, Sketch
from numpy.typing import NDArray

ERROR_BAND = 0.15  # RMSE is 0.014 between neighbours, but distances of far data were seen to err by 0.07
APPROXIMATE_ABOVE = 200_000  # a scan takes about 35 ms there (one thread)
CREDIBLE, APART = (
    0.6,
    0.03,
)  # MMD^2 was 0.77 to 1.28 of what sketches say; of small ones, and stand-ins, 0.02 off
GROWTH = 4  # lists are trained anew when there are that many times more sketches
SPARE = 32  # candidates beyond those asked for: some have equal distances


def at_least(estimates: NDArray[np.float64] | float, apart: float = APART) -> NDArray[np.float64]:
    """What MMD^2 (n,) is at least where sketches without noise estimate it so, and small ones differ by ``apart``."""
    return np.maximum(np.subtract(estimates, ERROR_BAND), np.multiply(CREDIBLE, estimates) - apart)


class SketchIndex:
    """Sketches of one island and one length by id; distances estimate MMD^2."""

    def __init__(
        self, sketches: Mapping[str, Sketch] | None = None, *, approximate_above: int = APPROXIMATE_ABOVE
    ) -> None:
        self._approximate_above = approximate_above
        self._table = SketchTable(BLOCK)
        self._slots: dict[str, int] = {}
        self._ids: list[str] = []  # by slot; a removed one's slot is given to the next
        self._free: list[int] = []
        self._scaled: set[int] = set()  # slots with noise or a scale of their own (privacy): never in the lists
        self._lists: InvertedLists | None = None
        self._sorted: tuple[str, ...] | None = ()
        self.update(sketches or {})

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, id_: object) -> bool:
        return id_ in self._slots

    def __getitem__(self, id_: str) -> Sketch:
        return self._table.sketch(self._slots[id_])

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids, sorted."""
        if self._sorted is None:
            self._sorted = tuple(sorted(self._slots))
        return self._sorted

    def add(self, id_: str, sketch: Sketch) -> None:
        """Add a sketch, or replace the one of this id; DimensionMismatch if it is of another length."""
        self.update({id_: sketch})

    def update(self, sketches: Mapping[str, Sketch]) -> None:
        """Add many at once; all or, if one is of another length, none."""
        if not sketches:
            return
        width = self._table.width if self._slots else len(next(iter(sketches.values())).values)
        for sketch in sketches.values():
            check_length(sketch, width)
        if not self._slots:
            self._table, self._ids, self._free, self._lists = SketchTable(width), [], [], None
        for id_ in sketches:
            self.remove(id_)
        slots = self._take(list(sketches))
        self._table.put(slots, list(sketches.values()))
        scaled = np.array([sketch.scale != SCALE or sketch.sigma > 0 for sketch in sketches.values()])
        self._scaled.update(slots[scaled].tolist())
        if self._lists is not None and not scaled.all():
            self._lists.add(self._table.values[slots[~scaled]], slots[~scaled])

    def remove(self, id_: str) -> None:
        """Forget a sketch; nothing happens if it is not here."""
        slot = self._slots.pop(id_, None)
        if slot is None:
            return
        if slot in self._scaled:
            self._scaled.remove(slot)
        elif self._lists is not None:
            self._lists.remove(slot)
        self._free.append(slot)
        self._sorted = None

    def distances(self, query: Sketch) -> NDArray[np.float64]:
        """Estimated MMD^2 to every member, in the order of ``ids``."""
        if not self._slots:
            return np.zeros(0)
        check_length(query, self._table.width)
        return self._table.distances(query)[[self._slots[id_] for id_ in self.ids]]

    def slots(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Where some are, until something is added or removed: for asking of the same ones often."""
        return np.array([self._slots[id_] for id_ in ids], np.int64)

    def distances_to(self, query: Sketch, slots: NDArray[np.int64]) -> NDArray[np.float64]:
        """Estimated MMD^2 to those in ``slots``."""
        check_length(query, self._table.width)
        return self._table.distances(query, slots)

    def support(self, query: Sketch, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places, in ``slots`` (nearest first), of those to which the best mixture of all of them gives weight."""
        check_length(query, self._table.width)
        return support_of(query, self._table.values[slots], *self._table.scales_and_biases(slots))

    def nearest(self, query: Sketch, limit: int = 10) -> Ranking:
        """The ``limit`` nearest ids and their estimated MMD^2, ascending, ties by id."""
        if not self._slots:
            return [], np.zeros(0)
        check_length(query, self._table.width)
        limit = min(limit, len(self._slots))
        if len(self._slots) - len(self._scaled) <= self._approximate_above:
            self._lists = None
        elif len(slots := self._candidates(query, limit)) >= limit:
            return ranking([self._ids[slot] for slot in slots], self._table.distances(query, slots), limit)
        found = self._table.distances(query)
        found[self._free] = np.inf
        return ranking(self._ids, found, limit)

    def _take(self, ids: list[str]) -> NDArray[np.int64]:
        """A slot for each id: free ones first."""
        reused = [self._free.pop() for _ in range(min(len(ids), len(self._free)))]
        slots = reused + list(range(len(self._ids), len(self._ids) + len(ids) - len(reused)))
        self._ids += [""] * (len(ids) - len(reused))
        for id_, slot in zip(ids, slots, strict=True):
            self._ids[slot] = id_
            self._slots[id_] = slot
        self._sorted = None
        return np.array(slots, np.int64)

    def _candidates(self, query: Sketch, limit: int) -> NDArray[np.int64]:
        """Slots from the lists and those that are in no list."""
        scaled = np.array(sorted(self._scaled), np.int64)
        if self._lists is None or len(self._lists) > GROWTH * self._lists.trained:
            held = np.setdiff1d(np.fromiter(self._slots.values(), np.int64), scaled)
            self._lists = InvertedLists(self._table.values, held)
        found = self._lists.search(query.values * np.float32(query.scale / SCALE), limit + SPARE)
        return np.concatenate([found, scaled])
