"""Fitting an RKME under the privacy gate: points by L-BFGS on a sample of the rows, weights by QP on all of them.

What is published must not say more than the distribution: the points start as random combinations of all rows, move
only as many steps as the rows behind them allow (early stopping is what keeps membership hidden), at least five rows
stand behind each, and none gives a row away. Measured by ``examples/benchmarks/privacy.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from atoll.engine.errors import PrivacyRefusal, SpecificationError
from atoll.engine.specs.descent import CHUNK, Lifted, descend, lifted_points
from atoll.engine.specs.disclosure import moved_off
from atoll.engine.specs.kernels import gaussian
from atoll.engine.specs.quadratic import minimise
from atoll.engine.specs.report import ROWS_PER_POINT, TENTH
from atoll.engine.specs.rkme import MAX_POINTS, Rkme
from atoll.engine.specs.rows import Floats, Progress, Rows, Survey
from atoll.engine.specs.starting import combinations, effective_dimension, starting_points
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

SAMPLE_WORK = 400_000  # sampled rows times (d + 20): what a fit costs, whatever n
SAMPLE_ROWS = (2500, 6000)
ROWS_TO_START = 6  # rows for one point at the start, so that five are left behind it
SPARE_ROWS = 30  # not counted for it: the fewer the rows, the more each point tells of them
STEPS = (15, 25)  # L-BFGS iterations on the first third of the sample, then on the rest
EXPOSURE = 29.0  # rows for one step, times the root of the effective dimension: keeps membership AUC about 0.55

Doubles = NDArray[np.float64]


def fit_rkme(
    X: Any, size: int = 100, gamma: float | None = None, seed: int = 0, impute: str | None = None, *,
    progress: Progress = lambda stage, done, total: None,
) -> Rkme:  # fmt: skip
    """Summarise rows ``X`` by at most ``size`` points that keep rules 1 and 2 of the privacy gate.

    ``X`` is (n, d) in island units, or a callable that returns a fresh iterable of such chunks at each call (two
    passes are made, seldom more); gamma None means 1/d. Fewer points come back where the rows do not allow more.
    The same rows, parameters and seed give the same bytes on the same platform, however they are cut into chunks.
    Raises NotFinite on NaN or inf (unless ``impute="mean"``), PrivacyRefusal below five rows.
    """
    if not 1 <= size <= MAX_POINTS or not (gamma is None or (np.isfinite(gamma) and gamma > 0)):
        raise SpecificationError(f"size {size} must be 1 to {MAX_POINTS}, gamma {gamma} positive")
    rows = Rows(X, impute)
    survey = rows.survey(_sample_size, seed)
    if survey.count < ROWS_PER_POINT:
        raise PrivacyRefusal(
            f"{survey.count} rows are too few: {ROWS_PER_POINT} rows must stand behind every point that is published"
        )
    width = 1.0 / survey.dimension if gamma is None else float(gamma)
    random = np.random.default_rng(seed + 1)
    progress("points", 0, 0)
    points = _populated(_moved(survey, size, width, random), rows, survey, width)
    points, means = _undisclosed(points, rows, survey, width, random, progress)
    return _weighted(points, means, width, survey.count)


def _sample_size(dimension: int) -> int:
    return int(np.clip(SAMPLE_WORK // (dimension + 20), *SAMPLE_ROWS))


def _moved(survey: Survey, size: int, gamma: float, random: np.random.Generator) -> Floats:
    """Starting points, moved a few steps towards the rows in two parts; in between, idle points get a new place."""
    sample, count = survey.sample, len(survey.sample)
    size = max(1, min(size, (survey.count - SPARE_ROWS) // ROWS_TO_START))
    directions = effective_dimension(sample)
    points = starting_points(sample, size, directions, random)
    rows_a_step = EXPOSURE * np.sqrt(directions)
    whole = survey.count == count
    first, second = (sample, sample) if whole else (sample[: count // 3], sample[count // 3 :])
    allowed = [int(len(part) / rows_a_step) for part in (first, second)]
    steps = (
        [min(sum(STEPS), allowed[0]) // 2] * 2 if whole else [min(*pair) for pair in zip(STEPS, allowed, strict=True)]
    )
    points = descend(points, Lifted(first, gamma), gamma, steps[0])
    points = _reseated(points, sample, gamma, directions, random)
    return descend(points, Lifted(second, gamma), gamma, steps[1])


def _reseated(points: Floats, sample: Floats, gamma: float, directions: float, random: np.random.Generator) -> Floats:
    """Points that are nearest to fewer than five rows go to where the most rows are."""
    nearest = _nearest_points(points, sample, gamma)
    behind = np.bincount(nearest, minlength=len(points))
    full = np.argsort(-behind, kind="stable")[: max(1, len(points) // 3)]
    seated = points.copy()
    for idle in np.flatnonzero(behind < ROWS_PER_POINT):
        home = random.choice(full, p=behind[full] / behind[full].sum())
        seated[idle] = combinations(sample[nearest == home], 1, directions, random)[0]
    return seated


def _nearest_points(points: Floats, rows: Floats, gamma: float) -> NDArray[np.int64]:
    return np.asarray((Lifted(rows, gamma).matrix @ lifted_points(points, gamma).T).argmax(axis=1), dtype=np.int64)


def _populated(points: Floats, rows: Rows, survey: Survey, gamma: float) -> Floats:
    """Rule 1: the points that are nearest to at least five rows, once the others are gone.

    The sample decides where it can (its rows are a part of all); otherwise all rows are counted.
    """
    whole = len(survey.sample) == survey.count
    while True:
        behind = _behind(points, [survey.sample], gamma)
        if not whole and behind.min() < ROWS_PER_POINT:
            behind = _behind(points, rows, gamma)
        few = np.flatnonzero(behind < ROWS_PER_POINT)
        if not few.size:
            return points
        gone = few[np.argsort(behind[few], kind="stable")][: (few.size + 1) // 2]  # their rows go to the others
        points = np.delete(points, gone, axis=0)


def _behind(points: Floats, blocks: Iterable[Floats], gamma: float) -> NDArray[np.int64]:
    counts = np.zeros(len(points), np.int64)
    for block in blocks:
        counts += np.bincount(_nearest_points(points, block, gamma), minlength=len(points))
    return counts


def _undisclosed(
    points: Floats, rows: Rows, survey: Survey, gamma: float, random: np.random.Generator, progress: Progress
) -> tuple[Floats, Doubles]:
    """Rule 2: points that give no row away, and their kernel means (1/n) sum_i k(z_j, x_i), float64 (m,)."""
    means, squares = _kernel_means(points, rows, survey.count, gamma, progress)
    suspects = np.flatnonzero(_may_disclose(points, squares, survey.sample))
    if not suspects.size:
        return points, means
    progress("disclosure", 0, 0)
    moved, keep = moved_off(points, rows, random, suspects)
    if keep.all() and np.array_equal(moved, points):
        return points, means
    if not keep.any():
        raise PrivacyRefusal("every place for a point would give a row away", hint="publish fewer, coarser columns")
    means, _ = _kernel_means(moved[keep], rows, survey.count, gamma, progress)
    return moved[keep], means


def _kernel_means(points: Floats, rows: Rows, count: int, gamma: float, progress: Progress) -> tuple[Doubles, Doubles]:
    """One pass: kernel means, and the squared distance of each point to its nearest row (to float32)."""
    factor = lifted_points(points, gamma).T
    sums, nearest, done = np.zeros(len(points)), np.full(len(points), -np.inf, np.float32), 0
    for block in rows:
        lifted = Lifted(block, gamma)
        for start in range(0, len(lifted), CHUNK):
            exponents = lifted.matrix[start : start + CHUNK] @ factor
            np.maximum(nearest, exponents.max(axis=0), out=nearest)
            sums += np.exp(exponents, out=exponents).sum(axis=0)
        done += len(block)
        progress("weights", done, count)
    return sums / count, np.maximum(-nearest.astype(np.float64) / gamma, 0.0)


def _may_disclose(points: Floats, squares: Doubles, sample: Floats) -> NDArray[np.bool_]:
    """Where the exact test is needed. A row at distance s of the point has a neighbour within s + t, t being the
    distance from the point to the second of two different sampled rows: nothing is given away if s > t / 9."""
    rounding = 4e-6 * (np.square(points).sum(1).max() + np.square(sample).sum(1).max())
    distances = cdist(points.astype(np.float64), sample[:1000].astype(np.float64), "sqeuclidean")
    first = distances.min(axis=1, keepdims=True)
    distances[distances <= first + rounding] = np.inf
    reach = np.sqrt(distances.min(axis=1))
    return np.asarray(np.sqrt(np.maximum(squares - rounding, 0.0)) <= 2.0 * TENTH * reach)


def _weighted(points: Floats, means: Doubles, gamma: float, count: int) -> Rkme:
    """Points without weight say nothing and are dropped; order by weight, so equal fits give equal bytes."""
    mass = minimise(gaussian(points, points, gamma), means, total_is_one=True)
    order = np.argsort(-mass, kind="stable")
    order = order[mass[order] > 1e-6]
    return Rkme(points[order], (mass[order] / mass[order].sum()).astype(np.float32), gamma, count)
