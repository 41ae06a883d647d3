"""Combining outputs without a look at the rows (Beimingwu's AveragingReuser, and weighted)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import numpy as np
from atoll.engine.reuse.combining import answered, combined, everywhere, prior
from atoll.engine.reuse.reuser import Doubles, Floats, Target
from numpy.typing import NDArray

Kind = Literal["mean", "vote_by_label", "vote_by_prob"]


class Averaging:
    """Every member has the same share in every row: its weight.

    ``kind``: "mean" of outputs; "vote_by_label", where each member's most probable class has its whole vote;
    "vote_by_prob", the mean of probabilities, normalised by row. Values of a regression can be averaged by "mean" only.
    """

    labelled: ClassVar[bool] = False

    def __init__(self, count: int, weights: Sequence[float] | None = None, kind: Kind = "mean") -> None:
        self._weights = prior(weights, count)
        self._kind = kind

    def fit(self, units: Floats, outputs: Doubles | None = None, target: Target | None = None) -> Self:
        return self

    def shares(self, units: Floats) -> Doubles:
        return everywhere(units, self._weights)

    def combine(self, units: Floats, shares: Doubles, outputs: Doubles) -> Doubles:
        if self._kind == "vote_by_label":
            return combined(shares, _ballots(outputs))
        values = combined(shares, outputs)
        return values if self._kind == "mean" else _normalised(values)

    def covered(self, units: Floats) -> NDArray[np.bool_]:
        return np.ones(len(units), bool)


def _ballots(outputs: Doubles) -> Doubles:
    heard = answered(outputs)[:, :, None]
    ballots = np.eye(outputs.shape[2])[np.where(heard, outputs, 0.0).argmax(axis=2)]
    return np.where(heard, ballots, np.nan)


def _normalised(values: Doubles) -> Doubles:
    sums = values.sum(axis=1, keepdims=True)
    return np.asarray(values / np.where(sums > 0, sums, 1.0))
