"""The weights of a mixture with given members: w = argmin w'Gw - 2c'w with w >= 0, sum w <= 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from atoll.engine.specs.quadratic import minimise
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NOTHING = 1e-6  # a weight below it is none


@dataclass(frozen=True)
class Mixture:
    """``members`` index the candidates, ``weights`` belong to them, largest first; ``mmd2`` is between user and
    mixture; ``uncovered`` = 1 - sum of the weights is the mass that no learnware covers."""

    members: tuple[int, ...]
    weights: tuple[float, ...]
    mmd2: float
    uncovered: float


def weigh(gram: Floats, cross: Floats) -> Floats:
    """The weights (k,) of all k members; ``gram`` (k, k), ``cross`` (k,)."""
    return minimise(gram, cross, total_is_one=False) if len(cross) else np.zeros(0)


def gram_of_sketches(rows: Floats, biases: Floats) -> Floats:
    """Inner products (k, k) of sketches (k, D), the bias (k,) of their noise taken off; what that makes negative
    definite is projected back to the nearest semi-definite matrix (Higham 1988)."""
    gram = np.asarray(rows @ rows.T, np.float64)
    if not biases.any():
        return gram
    values, vectors = np.linalg.eigh(gram - np.diag(biases))
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)


def mixture(members: Sequence[int], weights: Floats, gram: Floats, cross: Floats, norm2: float) -> Mixture:
    """The mixture of ``members`` with ``weights`` (k,), without those of no weight; ``gram`` (k, k), ``cross`` (k,)."""
    kept = sorted(np.flatnonzero(weights > NOTHING).tolist(), key=lambda place: (-weights[place], members[place]))
    w = weights[kept]
    value = float(w @ gram[np.ix_(kept, kept)] @ w - 2.0 * cross[kept] @ w + norm2)
    return Mixture(
        tuple(members[place] for place in kept),
        tuple(map(float, w)),
        max(value, 0.0),
        max(0.0, 1.0 - float(w.sum())),
    )
