"""The privacy gate's report on a specification, as packages carry it, and the verdict (algorithms: privacy gate)."""

from __future__ import annotations

import msgspec
import numpy as np
from atoll.engine.errors import PrivacyRefusal

ROWS_PER_POINT = 5
TENTH, HUNDREDTH = 0.1, 0.01  # of a row's distance to its nearest other row
AUC_LIMIT = 0.55
ROWS_IN_THE_OPEN = 300  # below, only inside a private federation, or by the owner's explicit word


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


def check_publication(report: PrivacyReport, *, private: bool, override: bool = False) -> None:
    """PrivacyRefusal if a specification may not be published: rules 1 and 2 always, rule 3 (few rows) in the open."""
    broken = report.violations()
    if broken:
        raise PrivacyRefusal("; ".join(broken), hint="fit it anew with `atoll spec fit`, or with fewer points")
    check_rows(report.rows, private=private, override=override)


def check_rows(rows: int, *, private: bool, override: bool = False) -> None:
    """Rule 3 alone, for specifications that others have fitted: nobody here has their rows."""
    if rows < ROWS_IN_THE_OPEN and not private and not override:
        raise PrivacyRefusal(
            f"{rows} rows are few: below {ROWS_IN_THE_OPEN} a specification stays in private federations",
            hint="give more rows, or say so by name: `atoll learnware policy ... --few-rows`",
        )


def _standard_error(attacked: int) -> float:
    """Of an AUC near 0.5 with as many members as others (Hanley and McNeil 1982)."""
    return float(np.sqrt((2 * attacked + 1) / (12.0 * attacked * attacked))) if attacked else 1.0
