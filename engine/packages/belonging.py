"""Does a model belong to its specification? Told from its outputs alone, without a labelled row.

A specification says where the rows are, a trained model where it draws its lines. If the two were made of the same
rows, the lines run between clusters of points, not through them. Two signs of that, for classifiers:

* information: how much a row tells of its class, as the model answers: the mutual information as a share of the
  classes' entropy (Theil's uncertainty coefficient), on the specification's rows less what it is on mirrored ones.
  Those have a random half of the columns mirrored at the mean: distances and clusters stay, their place is another.
  The model is its own measure thereby, since some kinds are certain everywhere and some nowhere.
* explained: the share of the variance of the probabilities' square roots that a point's kernel neighbours explain.

Of a model that gives labels alone, certain everywhere, the first sign says nothing: it is not judged.
A model is flagged if the first sign and a quarter of the second are below 0.265. Rule and numbers were chosen on the
calibration seeds of ``examples/benchmarks/acceptance.py``, for at most 5 % of the honest ones flagged.

For regressors only the second can be had: the share of the outputs' variance that neighbours explain, less what they
explain of a random linear map of the same points. Another model of the *same* task on other rows is a function of the
same kind, and is not told apart, nor is one with nearly all the points in one class.

Held out (seeds 7000 and 9000, 200 pairs each), of swapped and of honest classifiers are flagged: digits 82 % (68 to
90 % of 40, by draw) and 0.5 %, fashion images 88 % and 4.5 %; of honest ones on small tables (wine, cancer, iris) 16 of
360, of rare classes 1 of 40. Of another task of flights 48 % and 8 %: most of the other swapped ones predict one class.
On other data sets far fewer: pen digits 49 % and 0 %, textures 22 % and 1 %, satellite images 11 % and 0 % (only the
last were not looked at while the rule was chosen; the seeds above were, for when to say nothing).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from atoll.engine.islands import Island
from atoll.engine.packages.samples import near_points
from atoll.engine.specs.kernels import squared_distances
from atoll.engine.specs.rkme import Rkme
from numpy.typing import NDArray

SAY, LEAST = 0.25, 0.265  # a classifier is flagged if information + SAY * explained < LEAST
BEYOND_LINEAR = -0.15  # a regressor below is flagged
ROWS = 2000  # of the specification
MIRRORS, MIRRORED_ROWS = 8, 400
NARROWER = 16.0  # neighbours are those under 16 gamma: the next points, not all of the cluster
ONE_CLASS = 0.93  # share of the points in one class from which nothing can be told: a rare class has too few points
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


def of_classifier(answers: Answers, rkme: Rkme, island: Island, seed: int = 0) -> Belonging:
    """``answers`` maps rows (n, d) in island units to probabilities (n, classes)."""
    random = np.random.default_rng(seed)
    if len(rkme.weights) < LEAST_POINTS:
        return _silent(f"{len(rkme.weights)} points are too few to tell")
    points = rkme.points.astype(np.float64)
    answered = _probabilities(answers(points))
    rows = near_points(rkme, island, ROWS, random)
    mirrored = _mirrored(rows, _weights(rkme) @ points, random)
    elsewhere = _probabilities(answers(np.asarray(island.clipped(mirrored), np.float64)))
    nearby = _probabilities(answers(rows))
    if min(nearby.max(axis=1).min(), elsewhere.max(axis=1).min()) >= 1.0:
        return _silent("the model gives labels and not how certain it is of them: nothing can be told")
    places = elsewhere.reshape(MIRRORS, MIRRORED_ROWS, -1)
    here, there = _information(nearby), float(np.median([_information(each) for each in places]))
    residual, total = _variances(np.sqrt(answered), rkme)
    explained = float(1.0 - residual.sum() / total.sum())
    figures = {"information": here, "information_mirrored": there, "explained": explained}
    largest = float(np.bincount(answered.argmax(axis=1), weights=_weights(rkme)).max())
    if largest > ONE_CLASS:
        return Belonging(None, f"{largest:.0%} of the points are predicted as one class: nothing can be told", figures)
    score = here - there + SAY * explained
    words = (
        f"of rows like those of the specification its answers tell {here:.0%} of the class, of the same rows mirrored "
        f"{there:.0%}, and points that are near get like answers ({explained:.0%}): a score of {score:.2f}, where "
        f"{LEAST} is enough"
    )
    return Belonging(score >= LEAST, words, figures)


def of_regressor(answers: Answers, rkme: Rkme, island: Island, seed: int = 0) -> Belonging:
    """``answers`` maps rows (n, d) in island units to values (n, targets)."""
    if len(rkme.weights) < LEAST_POINTS:
        return _silent(f"{len(rkme.weights)} points are too few to tell")
    points = rkme.points.astype(np.float64)
    values = np.asarray(answers(points), np.float64)
    if not values.var(axis=0).any():
        return _silent("the outputs are all the same: nothing can be told")
    maps = np.random.default_rng(seed).standard_normal((rkme.dimension, REFERENCES))
    linear, explained = np.median(_explained(points @ maps, rkme)), _explained(values, rkme).max()
    words = (
        f"points that are near get like answers ({explained:.0%} of what varies; a linear map of no meaning has "
        f"{linear:.0%})"
    )
    figures = {"explained": float(explained), "explained_linear": float(linear)}
    return Belonging(bool(explained - linear >= BEYOND_LINEAR), words, figures)


def _mirrored(rows: Doubles, mean: Doubles, random: np.random.Generator) -> Doubles:
    """MIRRORS times MIRRORED_ROWS rows, each time with another half of the columns mirrored at ``mean``."""
    signs = np.ones((MIRRORS, 1, rows.shape[1]))
    signs[..., : max(1, rows.shape[1] // 2)] = -1.0
    chosen = rows[random.choice(len(rows), (MIRRORS, MIRRORED_ROWS))]
    places = mean + (chosen - mean) * random.permuted(signs, axis=2)
    return np.asarray(places.reshape(-1, rows.shape[1]))


def _silent(words: str) -> Belonging:
    return Belonging(None, words, {})


def _probabilities(answers: NDArray[np.floating]) -> Doubles:
    """The answers; scores that are no probabilities are made such by softmax."""
    p = np.asarray(answers, np.float64)
    if (p < 0).any() or np.abs(p.sum(axis=1) - 1.0).max() > 1e-2:
        p = np.exp(p - p.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
    return p


def _entropy(probabilities: Doubles) -> Doubles:
    return np.asarray(-(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=-1))


def _information(probabilities: Doubles) -> float:
    """Uncertainty coefficient: mutual information of row and class, as a share of the classes' entropy."""
    before, after = float(_entropy(probabilities.mean(axis=0))), float(_entropy(probabilities).mean())
    return (before - after) / max(before, 1e-9)


def _variances(values: Doubles, rkme: Rkme) -> tuple[Doubles, Doubles]:
    """Of each column of ``values`` (m, k), what leave-one-out kernel neighbours leave unexplained, and all of it."""
    weights, votes = _weights(rkme), _neighbours(rkme)
    centred = values - weights @ values
    total = np.maximum(weights @ centred**2, 1e-12)
    return np.asarray(weights @ (centred - votes @ centred) ** 2), np.asarray(total)


def _explained(values: Doubles, rkme: Rkme) -> Doubles:
    """Share of the variance of each column of ``values`` (m, k) that neighbours explain."""
    residual, total = _variances(values, rkme)
    return np.asarray(1.0 - residual / total)


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
