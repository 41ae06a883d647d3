"""The privacy gate's report on a specification, and its verdict (algorithms: privacy gate of a specification).

Says what an outsider could learn of single rows: how many stand behind a point, whether a point gives a row away, and
how well membership can be guessed. Fitting keeps rules 1 and 2 by construction; this measures them.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
from atoll.engine.errors import DimensionMismatch, PrivacyRefusal
from atoll.engine.specs.disclosure import ROWS_PER_POINT, TENTH, disclosure
from atoll.engine.specs.fit import fit_rkme
from atoll.engine.specs.kernels import squared_distances
from atoll.engine.specs.rkme import Rkme
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

HUNDREDTH = 0.01
AUC_LIMIT = 0.55
ROWS_IN_THE_OPEN = 300  # below, only inside a private federation, or by the owner's explicit word
ATTACKED = 4000  # rows of each side in a membership attack
SHARPER = (1.0, 16.0)  # kernels of the density attack, as multiples of the specification's gamma
Doubles = NDArray[np.float64]


class PrivacyReport(msgspec.Struct, frozen=True):
    """``within_hundredth`` and ``within_tenth`` are shares of points that lie so near a row, in units of that row's
    distance to its nearest other row; ``membership_auc`` is the best attack's, on ``attacked`` held-out rows."""

    rows: int
    points: int
    rows_behind_least: int
    within_hundredth: float
    within_tenth: float
    membership_auc: float | None = None
    attacked: int = 0

    def violations(self) -> tuple[str, ...]:
        """What breaks rules 1 and 2, in words; an AUC counts as broken beyond two standard errors."""
        found = []
        if self.rows_behind_least < ROWS_PER_POINT:
            found.append(f"a point has {self.rows_behind_least} rows behind it, {ROWS_PER_POINT} are needed")
        if self.within_hundredth > 0:
            found.append(f"{self.within_hundredth:.1%} of the points lie on a row")
        if self.within_tenth > HUNDREDTH:
            found.append(f"{self.within_tenth:.1%} of the points are near enough to a row to give it away, 1 % may be")
        if self.membership_auc is not None and self.membership_auc > AUC_LIMIT + 2 * _standard_error(self.attacked):
            found.append(f"membership can be guessed: AUC {self.membership_auc:.2f}, {AUC_LIMIT} is the limit")
        return tuple(found)


def audit(rkme: Rkme, rows: NDArray[np.float32], held_out: NDArray[np.float32] | None = None) -> PrivacyReport:
    """Check a specification against the ``rows`` (n, d) it was made of, in island units.

    ``held_out`` are rows of the same distribution that it was not made of; without them membership is not attacked.
    """
    for table in (rows, held_out):
        if table is not None and (table.ndim != 2 or table.shape[1] != rkme.dimension or not len(table)):
            raise DimensionMismatch(f"rows of shape {table.shape} for a specification of {rkme.dimension} dimensions")
    share = disclosure(rkme.points, [rows]).share
    behind = np.bincount(_nearest(rkme, rows), minlength=len(rkme.weights))
    auc = None if held_out is None else membership_auc(rkme, rows, held_out)
    return PrivacyReport(
        rows=len(rows),
        points=len(rkme.weights),
        rows_behind_least=int(behind.min()),
        within_hundredth=float((share < HUNDREDTH).mean()),
        within_tenth=float((share < TENTH * (1.0 - 1e-3)).mean()),  # points are rounded to float32
        membership_auc=auc,
        attacked=0 if held_out is None else min(len(held_out), ATTACKED),
    )


def self_audit(rkme: Rkme, rows: NDArray[np.float32], seed: int = 0) -> PrivacyReport:
    """As :func:`audit` where there are no held-out rows: the membership attack is run on a specification fitted in the
    same way to one half of the rows, against the other half. It tells more than the one of all rows does."""
    order = np.random.default_rng(seed).permutation(len(rows))
    one, other = rows[order[: len(rows) // 2]], rows[order[len(rows) // 2 :]]
    whole = audit(rkme, rows)
    if len(one) < ROWS_PER_POINT:
        return whole
    half = fit_rkme(one, size=len(rkme.weights), gamma=rkme.gamma, seed=seed)
    auc = membership_auc(half, one, other)
    return msgspec.structs.replace(whole, membership_auc=auc, attacked=min(len(other), ATTACKED))


def membership_auc(rkme: Rkme, members: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    """How well the best of three attacks tells ``members`` from ``others``: 0.5 not at all, 1.0 always.

    Attacks: distance to the nearest point, and the specification's density under its own and under a sharper kernel.
    """
    inside, outside = _evenly(members), _evenly(others)
    truth = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
    squares = squared_distances(np.concatenate([inside, outside]), rkme.points)
    weights = rkme.weights.astype(np.float64)
    scores = [-squares.min(axis=1), *(np.exp(-sharper * rkme.gamma * squares) @ weights for sharper in SHARPER)]
    return float(max(roc_auc_score(truth, score) for score in scores))


def check_publication(report: PrivacyReport, *, private: bool, override: bool = False) -> None:
    """PrivacyRefusal if a specification may not be published: rules 1 and 2 always, rule 3 (few rows) in the open."""
    broken = report.violations()
    if broken:
        raise PrivacyRefusal("; ".join(broken), hint="fit it anew with `atoll spec fit`, or with fewer points")
    if report.rows < ROWS_IN_THE_OPEN and not private and not override:
        raise PrivacyRefusal(
            f"{report.rows} rows are few: below {ROWS_IN_THE_OPEN} a specification stays in private federations",
            hint="give more rows, or override it by name",
        )


def _nearest(rkme: Rkme, rows: NDArray[np.float32]) -> NDArray[np.int64]:
    blocks: Iterable[NDArray[np.float32]] = np.array_split(rows, len(rows) // 10_000 + 1)
    return np.concatenate([squared_distances(block, rkme.points).argmin(axis=1) for block in blocks])


def _evenly(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), ATTACKED)).astype(np.int64)]


def _standard_error(attacked: int) -> float:
    """Of an AUC near 0.5 with as many members as others (Hanley and McNeil 1982)."""
    return float(np.sqrt((2 * attacked + 1) / (12.0 * attacked * attacked))) if attacked else 1.0
