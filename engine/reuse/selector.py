"""Job selector (Beimingwu): a classifier, trained on samples herded from the RKMEs, sends each row to one member."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from atoll.engine.errors import DimensionMismatch
from atoll.engine.islands import Island
from atoll.engine.reuse.combining import combined, prior, reassigned
from atoll.engine.reuse.reuser import Doubles, Floats, Target
from atoll.engine.specs.herding import herd
from atoll.engine.specs.rkme import Rkme
from numpy.typing import NDArray

SAMPLES = 1000  # of all members together
FEWEST = 5  # of one
NEIGHBOURS = 5


class JobSelector:
    """The hard form of routing, on RKMEs only. Samples in proportion to ``weights``; nearest neighbours decide."""

    labelled: ClassVar[bool] = False

    def __init__(self, rkmes: Sequence[Rkme], weights: Sequence[float] | None, island: Island) -> None:
        if not rkmes or any(not each.comparable(island) for each in rkmes):
            raise DimensionMismatch("the job selector takes RKMEs of one island")
        self._classifier = _trained(rkmes, prior(weights, len(rkmes)))
        self._count = len(rkmes)

    def fit(self, units: Floats, outputs: Doubles | None = None, target: Target | None = None) -> Self:
        return self

    def shares(self, units: Floats) -> Doubles:
        return np.asarray(np.eye(self._count)[self._posterior(units).argmax(axis=1)])

    def combine(self, units: Floats, shares: Doubles, outputs: Doubles) -> Doubles:
        shares = reassigned(shares, outputs, lambda lost: self._posterior(np.asarray(units)[lost]))
        return combined(shares, outputs)

    def covered(self, units: Floats) -> NDArray[np.bool_]:
        return np.ones(len(units), bool)

    def _posterior(self, units: Floats) -> Doubles:
        posterior = np.zeros((len(units), self._count))
        if len(units):
            posterior[:, self._classifier.classes_] = self._classifier.predict_proba(np.asarray(units))
        return posterior


def _trained(rkmes: Sequence[Rkme], weights: Doubles) -> Any:
    from sklearn.neighbors import KNeighborsClassifier  # who only routes softly need not load it

    counts = np.where(weights > 0, np.maximum(np.rint(SAMPLES * weights), FEWEST), 0).astype(int)
    chosen = np.flatnonzero(counts)
    samples = np.concatenate([herd(rkmes[place], int(counts[place]), seed=place) for place in chosen.tolist()])
    neighbours = KNeighborsClassifier(n_neighbors=min(NEIGHBOURS, len(samples)), weights="distance")
    return neighbours.fit(samples, np.repeat(chosen, counts[chosen]))
