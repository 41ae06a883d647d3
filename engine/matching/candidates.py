"""Which learnwares a mixture may be made of.

A learnware that is useful only in a mixture ranks badly alone: in a catalogue of blends, the parts of a user's data
were found at ranks 20 to beyond 1000. Hence the nearest and whatever the best mixture of all sketches gives weight.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from atoll.engine.matching.sketch_table import check_length, dots
from atoll.engine.matching.weights import NOTHING, Floats, gram_of_sketches, weigh
from atoll.engine.specs.sketch import BLOCK, Sketch
from numpy.typing import NDArray

NEAREST = 50
START = 200
ROUNDS = 8
ADDED = (
    40  # sketches added a round; more rounds of fewer gain 3e-4 where the user is like many, and take five times longer
)
GAIN = 3e-4  # in <sketch, residual>: far below the error of a sketch


def mixture_candidates(asked: Sketch, ranked: Sequence[Sketch]) -> tuple[int, ...]:
    """Places, ascending, of the 50 nearest of ``ranked`` (nearest first) and of the support of the quadratic program
    over all of it; DimensionMismatch unless all are of one length."""
    for each in (asked, *ranked):
        check_length(each, len(asked.values))
    if not ranked:
        return ()
    values = np.array([each.values for each in ranked])
    scales = np.array([each.scale for each in ranked])
    found = support_of(asked, values, scales, np.array([each.bias for each in ranked]))
    return tuple(sorted({*range(min(NEAREST, len(ranked))), *found.tolist()}))


def support_of(asked: Sketch, values: NDArray[np.int8], scales: Floats, biases: Floats) -> NDArray[np.int64]:
    """Where min ||asked - sum_i w_i s_i||^2, w >= 0, sum w <= 1, has weight, by column generation: solve on a few,
    add those whose gradient says that weight on them would help, until there are none.

    The sketches are ``values`` (n, width) times ``scales`` (n,), nearest first; ``biases`` (n,) are of their noise.
    """
    scales = scales / np.sqrt(values.shape[1] // BLOCK)
    own = asked.floats().astype(np.float64)
    active = np.arange(min(START, len(values)))
    for _ in range(ROUNDS):
        rows = values[active] * scales[active, None]
        gram, cross = gram_of_sketches(rows, biases[active]), rows @ own
        weights = weigh(gram, cross)
        level = float(weights @ (cross - gram @ weights)) / max(float(weights.sum()), NOTHING)
        active, residual = active[weights > NOTHING], own - weights @ rows
        new = _helpful(scales * dots(values, residual.astype(np.float32)), active, max(level, 0.0) + GAIN)
        if not len(new):
            break
        active = np.concatenate([active, new])
    return active


def _helpful(gradients: Floats, active: NDArray[np.int64], least: float) -> NDArray[np.int64]:
    """The places outside ``active`` with the largest gradients above ``least``."""
    gradients[active] = -np.inf
    above = np.flatnonzero(gradients > least)
    return np.asarray(above[np.argsort(-gradients[above], kind="stable")[:ADDED]])
