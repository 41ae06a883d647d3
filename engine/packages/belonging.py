"""Does a model belong to its specification? Told from its outputs alone, without a labelled row.

A specification says where the rows are, a trained model where it draws its lines. If the two were made of the same
rows, the lines run between clusters of points, not through them. Two signs of that, for classifiers:

* contrast: the model is more certain on the specification's rows than on their crossovers, rows that take a random half
  of their columns from another row. Compared by rank (an AUC), so that over- and under-confident models are alike.
* agreement: points are predicted as their kernel neighbours are, beyond chance (Cohen's kappa).

Honest models show at least one; a model of other rows shows neither. For regressors only the second can be had: the
share of the outputs' variance that neighbours explain, less what they explain of a random linear map of the same
points. Another model of the *same* task on other rows is a function of the same kind, and is not told apart.
Measured by ``examples/benchmarks/acceptance.py``: of digits and fashion images 92 % and 82 % of swapped classifiers
are flagged, 0 % and 8 % of honest ones; 2 % of honest ones over all its data sets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from atoll.engine.packages.samples import near_points
from atoll.engine.specs.kernels import squared_distances
from atoll.engine.specs.rkme import Rkme
from numpy.typing import NDArray

CONTRAST, AGREEMENT = 0.58, 0.60  # a classifier below both is flagged
BEYOND_LINEAR = -0.15  # a regressor below is flagged
PROBES = 2000  # rows on and off the specification: an AUC of so many is known to 0.01
NARROWER = 16.0  # neighbours are those under 16 gamma: the next points, not all of the cluster
ONE_CLASS = 0.98  # share of the points in one class from which nothing can be told
LEAST_POINTS = 5
REFERENCES = 200  # random linear maps

Doubles = NDArray[np.float64]
Answers = Callable[[Doubles], NDArray[np.floating]]


@dataclass(frozen=True)
class Belonging:
    """``belongs`` is None where nothing can be told; ``figures`` by name, and the verdict in ``words``."""

    belongs: bool | None
    words: str
    figures: dict[str, float]


def of_classifier(answers: Answers, rkme: Rkme, seed: int = 0) -> Belonging:
    """``answers`` maps rows (n, d) in island units to probabilities (n, classes)."""
    random = np.random.default_rng(seed)
    if len(rkme.weights) < LEAST_POINTS:
        return _silent(f"{len(rkme.weights)} points are too few to tell")
    rows = near_points(rkme, PROBES, random)
    contrast = _auc(_certainty(answers(rows)), _certainty(answers(_crossed(rows, random))))
    labels = np.asarray(answers(rkme.points.astype(np.float64))).argmax(axis=1)
    agreement, largest = _agreement(labels, rkme)
    figures = {"contrast": contrast, "agreement": agreement}
    if largest > ONE_CLASS:
        return Belonging(None, f"{largest:.0%} of the points are predicted as one class: nothing can be told", figures)
    words = (
        f"certainty on the specification's rows above that off them at AUC {contrast:.2f} (expected {CONTRAST}), "
        f"neighbours predicted alike at kappa {agreement:.2f} (or {AGREEMENT})"
    )
    return Belonging(contrast >= CONTRAST or agreement >= AGREEMENT, words, figures)


def of_regressor(answers: Answers, rkme: Rkme, seed: int = 0) -> Belonging:
    """``answers`` maps rows (n, d) in island units to values (n, targets)."""
    if len(rkme.weights) < LEAST_POINTS:
        return _silent(f"{len(rkme.weights)} points are too few to tell")
    points = rkme.points.astype(np.float64)
    values = np.asarray(answers(points), np.float64)
    if not values.var(axis=0).any():
        return _silent("the outputs are all the same: nothing can be told")
    maps = np.random.default_rng(seed).standard_normal((rkme.dimension, REFERENCES))
    linear = float(np.median(_explained(points @ maps, rkme)))
    explained = float(_explained(values, rkme).max())
    words = (
        f"kernel neighbours explain {explained:.0%} of the outputs' variance, "
        f"and {linear:.0%} of that of a random linear map"
    )
    figures = {"explained": explained, "explained_linear": linear}
    return Belonging(explained - linear >= BEYOND_LINEAR, words, figures)


def _crossed(rows: Doubles, random: np.random.Generator) -> Doubles:
    """Rows of which each takes about half of its columns from one row and the rest from another."""
    one, other = random.choice(len(rows), (2, len(rows)))
    halves = random.random((len(one), rows.shape[1])) < 0.5
    return np.asarray(np.where(halves, rows[one], rows[other]))


def _silent(words: str) -> Belonging:
    return Belonging(None, words, {})


def _certainty(probabilities: NDArray[np.floating]) -> Doubles:
    """Minus the entropy (n,) of each row; scores that are no probabilities are made such by softmax."""
    p = np.asarray(probabilities, np.float64)
    if (p < 0).any() or np.abs(p.sum(axis=1) - 1.0).max() > 1e-2:
        p = np.exp(p - p.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
    return np.asarray((p * np.log(np.maximum(p, 1e-12))).sum(axis=1))


def _auc(inside: Doubles, outside: Doubles) -> float:
    """P(inside > outside) + P(equal) / 2."""
    ordered = np.sort(outside)
    below = np.searchsorted(ordered, inside, "left") + np.searchsorted(ordered, inside, "right")
    return float(below.mean() / (2.0 * len(outside)))


def _agreement(labels: NDArray[np.integer], rkme: Rkme) -> tuple[float, float]:
    """Kappa of points and their neighbours, and the share of the largest class; both by the points' weight."""
    weights, votes = _weights(rkme), _neighbours(rkme)
    shares = np.bincount(labels, weights=weights)
    chance, seen = float(shares @ shares), float(weights @ (votes * (labels[:, None] == labels)).sum(axis=1))
    return (seen - chance) / max(1.0 - chance, 1e-9), float(shares.max())


def _explained(values: Doubles, rkme: Rkme) -> Doubles:
    """Share of the variance of each column of ``values`` (m, k) that leave-one-out kernel neighbours explain."""
    weights, votes = _weights(rkme), _neighbours(rkme)
    centred = values - weights @ values
    total = np.maximum(weights @ centred**2, 1e-12)
    return np.asarray(1.0 - (weights @ (centred - votes @ centred) ** 2) / total)


def _weights(rkme: Rkme) -> Doubles:
    weights = rkme.weights.astype(np.float64)
    return np.asarray(weights / weights.sum())


def _neighbours(rkme: Rkme) -> Doubles:
    """Row-stochastic (m, m): the say of every other point in each, by log-sum-exp (far points must not underflow)."""
    logs = -NARROWER * rkme.gamma * squared_distances(rkme.points, rkme.points)
    logs += np.log(np.maximum(_weights(rkme), 1e-300))
    np.fill_diagonal(logs, -np.inf)
    logs -= logs.max(axis=1, keepdims=True)
    says = np.exp(logs)
    return np.asarray(says / says.sum(axis=1, keepdims=True))
