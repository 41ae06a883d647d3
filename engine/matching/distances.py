"""Exact matching of one query against many RKMEs of one island, batched: stacked points, one GEMM.

The scan is in float32 with a bound of its error; whoever may be among the nearest is computed again in float64.
Order and values are therefore exact and do not depend on the order of insertion. Not thread-safe.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from atoll.engine.errors import DimensionMismatch
from atoll.engine.matching.growing import Growing
from atoll.engine.matching.ranking import Ranking, ranking
from atoll.engine.matching.stack import Basis, PointStack
from atoll.engine.specs.rkme import Rkme
from numpy.typing import NDArray

SPARE = 16  # dead slots that are never worth moving the others


class RkmeIndex:
    """RKMEs of one island by id. Every distance that leaves it is MMD^2 in float64."""

    def __init__(self, rkmes: Mapping[str, Rkme] | None = None) -> None:
        self._stack: PointStack | None = None
        self._slots: dict[str, int] = {}
        self._ids: list[str] = []  # by slot; a removed one's slot stays, dead, until half of them are
        self._alive = Growing(np.bool_)
        self._sorted: tuple[str, ...] | None = ()
        for id_, rkme in (rkmes or {}).items():
            self.add(id_, rkme)

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, id_: object) -> bool:
        return id_ in self._slots

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids, sorted."""
        if self._sorted is None:
            self._sorted = tuple(sorted(self._slots))
        return self._sorted

    def add(self, id_: str, rkme: Rkme) -> None:
        """Add an RKME, or replace the one of this id; DimensionMismatch if it is not of this index's island."""
        if not self._slots:
            self._stack, self._ids, self._alive = PointStack(rkme.dimension, rkme.gamma), [], Growing(np.bool_)
        stack = self._comparable(rkme, f"the RKME {id_}")
        self.remove(id_)
        stack.append(rkme)
        self._slots[id_] = len(self._ids)
        self._ids.append(id_)
        self._alive.extend([True])
        self._sorted = None

    def remove(self, id_: str) -> None:
        """Forget an RKME; nothing happens if it is not here."""
        slot = self._slots.pop(id_, None)
        if slot is None or self._stack is None:
            return
        self._alive.values[slot] = False
        self._sorted = None
        if len(self._ids) > 2 * len(self._slots) + SPARE:
            self._compact(self._stack)

    def cross(self, query: Rkme) -> NDArray[np.float64]:
        """<query, member> for every member, in the order of ``ids``."""
        if not self._slots:
            return np.zeros(0)
        stack = self._comparable(query, "the query")
        return stack.exact(_basis(query, stack), self._of(self.ids))

    def distances(self, query: Rkme) -> NDArray[np.float64]:
        """MMD^2 to every member, in the order of ``ids``."""
        return self._exact(query, self._of(self.ids))

    def gram(self) -> NDArray[np.float64]:
        """G (k, k) with G_ij = <P_i, P_j>, in the order of ``ids``."""
        gram = np.zeros((len(self), len(self)))
        if self._stack is not None:
            slots = self._of(self.ids)
            for place, slot in enumerate(slots):
                row = self._stack.exact(self._stack.basis(slot), slots[place:])
                gram[place, place:] = gram[place:, place] = row
        return gram

    def nearest(self, query: Rkme, limit: int = 10, *, among: Collection[str] | None = None) -> Ranking:
        """The ``limit`` nearest ids and their MMD^2, ascending, ties by id; of those in ``among``, if given."""
        if not self._slots or limit <= 0:
            return [], np.zeros(0)
        stack = self._comparable(query, "the query")
        slots = None if among is None else self._of(id_ for id_ in dict.fromkeys(among) if id_ in self._slots)
        cross, error = stack.scan(_basis(query, stack), slots)
        if slots is None:
            slots = np.arange(len(self._ids))
        estimate = stack.norms[slots] - 2.0 * cross + query.norm2
        leaders = slots[_may_lead(estimate, 2.0 * error, self._alive.values[slots], limit)]
        ids = [self._ids[slot] for slot in leaders]
        return ranking(ids, self._exact(query, leaders), limit)

    def _exact(self, query: Rkme, slots: NDArray[np.int64]) -> NDArray[np.float64]:
        if not len(slots):
            return np.zeros(0)
        stack = self._comparable(query, "the query")
        cross = stack.exact(_basis(query, stack), slots)
        return np.maximum(stack.norms[slots] - 2.0 * cross + query.norm2, 0.0)

    def _of(self, ids: Iterable[str]) -> NDArray[np.int64]:
        return np.array([self._slots[id_] for id_ in ids], np.int64)

    def _compact(self, stack: PointStack) -> None:
        alive = self._alive.values.copy()
        stack.keep(alive)
        self._ids = [id_ for id_, lives in zip(self._ids, alive, strict=True) if lives]
        self._slots = {id_: slot for slot, id_ in enumerate(self._ids)}
        self._alive.keep(alive)

    def _comparable(self, rkme: Rkme, what: str) -> PointStack:
        stack = self._stack
        if stack is None or not rkme.comparable(stack):
            raise DimensionMismatch(f"{what} does not come from the island of this index")
        return stack


def _basis(query: Rkme, stack: PointStack) -> Basis:
    return Basis(query.points, query.weights, stack.gamma)


def _may_lead(
    estimate: NDArray[np.float64], error: NDArray[np.float64], alive: NDArray[np.bool_], limit: int
) -> NDArray[np.int64]:
    """Places that may be among the ``limit`` nearest although every estimate may err by ``error``."""
    highest = np.where(alive, estimate + error, np.inf)
    last = np.partition(highest, limit - 1)[limit - 1] if limit < len(highest) else np.inf
    return np.flatnonzero(alive & (estimate - error <= last))


def gram_matrix(members: Sequence[Rkme]) -> NDArray[np.float64]:
    """G (k, k) with G_ij = <P_i, P_j>."""
    return RkmeIndex({f"{place:06d}": member for place, member in enumerate(members)}).gram()
