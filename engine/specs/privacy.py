"""Measuring what a specification tells of single rows (algorithms: privacy gate of a specification).

How many rows stand behind a point, whether a point gives a row away, how well membership can be guessed. Fitting keeps
rules 1 and 2 by construction; this checks a specification, whoever fitted it, against rows.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
from atoll.engine.errors import DimensionMismatch
from atoll.engine.specs.disclosure import disclosure
from atoll.engine.specs.fit import fit_rkme
from atoll.engine.specs.kernels import squared_distances
from atoll.engine.specs.report import HUNDREDTH, ROWS_PER_POINT, TENTH, PrivacyReport
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.rows import Progress
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

ATTACKED = 4000  # rows of each side in a membership attack
SHARPER = (1.0, 16.0)  # kernels of the density attack, as multiples of the specification's gamma
Doubles = NDArray[np.float64]


def gate(
    rkme: Rkme, blocks: Iterable[NDArray[np.float32]], progress: Progress = lambda stage, done, total: None
) -> PrivacyReport:
    """Rules 1 and 2 of a specification against all rows it was made of, in memory bounded by a block.

    ``blocks`` gives the rows (n, d) in island units anew at each of three iterations.
    """
    behind, rows = np.zeros(len(rkme.weights), np.int64), 0
    for block in blocks:
        behind += np.bincount(_nearest(rkme, block), minlength=len(behind))
        rows += len(block)
        progress("gate", rows, rkme.count)
    share = disclosure(rkme.points, blocks).share
    return PrivacyReport(
        rows=rows,
        points=len(behind),
        rows_behind_least=int(behind.min()),
        within_hundredth=float((share < HUNDREDTH).mean()),
        within_tenth=float((share < TENTH * (1.0 - 1e-3)).mean()),  # points are rounded to float32
    )


def audit(rkme: Rkme, rows: NDArray[np.float32], held_out: NDArray[np.float32] | None = None) -> PrivacyReport:
    """Check a specification against the ``rows`` (n, d) it was made of, in island units.

    ``held_out`` are rows of the same distribution that it was not made of; without them membership is not attacked.
    """
    for table in (rows, held_out):
        if table is not None and (table.ndim != 2 or table.shape[1] != rkme.dimension or not len(table)):
            raise DimensionMismatch(f"rows of shape {table.shape} for a specification of {rkme.dimension} dimensions")
    report = gate(rkme, [rows])
    return report if held_out is None else _attacked(report, rkme, rows, held_out)


def self_audit(rkme: Rkme, rows: NDArray[np.float32], seed: int = 0) -> PrivacyReport:
    """As :func:`audit` where there are no held-out rows: the membership attack is run on a specification fitted in the
    same way to one half of the rows, against the other half. It tells more than the one of all rows does."""
    order = np.random.default_rng(seed).permutation(len(rows))
    one, other = rows[order[: len(rows) // 2]], rows[order[len(rows) // 2 :]]
    whole = audit(rkme, rows)
    if len(one) < ROWS_PER_POINT:
        return whole
    half = fit_rkme(one, size=len(rkme.weights), gamma=rkme.gamma, seed=seed)
    return _attacked(whole, half, one, other)


def membership_auc(rkme: Rkme, members: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    """How well the best of three attacks tells ``members`` from ``others``: 0.5 not at all, 1.0 always.

    Attacks: distance to the nearest point, and the specification's density under its own and under a sharper kernel.
    """
    return max(attacks(rkme, members, others))


def attacks(rkme: Rkme, members: NDArray[np.float32], others: NDArray[np.float32]) -> tuple[float, ...]:
    """The AUC of each attack of :func:`membership_auc`, in that order."""
    inside, outside = _evenly(members), _evenly(others)
    truth = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
    squares = squared_distances(np.concatenate([inside, outside]), rkme.points)
    weights = rkme.weights.astype(np.float64)
    scores = [-squares.min(axis=1), *(np.exp(-sharper * rkme.gamma * squares) @ weights for sharper in SHARPER)]
    return tuple(float(roc_auc_score(truth, score)) for score in scores)


def _attacked(
    report: PrivacyReport, rkme: Rkme, members: NDArray[np.float32], others: NDArray[np.float32]
) -> PrivacyReport:
    auc = membership_auc(rkme, members, others)
    return msgspec.structs.replace(report, membership_auc=auc, attacked=min(len(others), ATTACKED))


def _nearest(rkme: Rkme, rows: NDArray[np.float32]) -> NDArray[np.int64]:
    blocks: Iterable[NDArray[np.float32]] = np.array_split(rows, len(rows) // 10_000 + 1)
    return np.concatenate([squared_distances(block, rkme.points).argmin(axis=1) for block in blocks])


def _evenly(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), ATTACKED)).astype(np.int64)]
