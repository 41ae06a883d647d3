"""The gate's report: what an outsider could learn of single rows, and the verdict."""

import msgspec
import numpy as np
import pytest
from atoll.engine.errors import DimensionMismatch, PrivacyRefusal
from atoll.engine.specs import Rkme, fit_rkme
from atoll.engine.specs.privacy import audit, membership_auc, self_audit
from atoll.engine.specs.report import PrivacyReport, check_publication

GOOD = PrivacyReport(rows=1000, points=50, rows_behind_least=6, within_hundredth=0.0, within_tenth=0.0)


def clusters(n, d=10, seed=0):
    centres = np.random.default_rng(99).standard_normal((20, d))
    random = np.random.default_rng(seed)
    return (centres[random.integers(0, 20, n)] + 0.4 * random.standard_normal((n, d))).astype(np.float32)


def verbatim(rows):
    """A specification that is the rows themselves: the worst that could be published."""
    return Rkme(rows, np.full(len(rows), 1 / len(rows), np.float32), 1 / rows.shape[1], len(rows))


def test_rows_published_as_points_break_every_rule():
    rows = clusters(600)
    report = audit(verbatim(rows[:300]), rows[:300], held_out=rows[300:])
    assert report.within_hundredth == report.within_tenth == 1.0
    assert report.rows_behind_least == 1
    assert report.membership_auc == 1.0
    assert len(report.violations()) == 4
    with pytest.raises(PrivacyRefusal, match="membership"):
        check_publication(report, private=True)


@pytest.mark.parametrize("n", [300, 1000, 5000])
def test_who_is_in_the_data_cannot_be_told_from_a_fit(n):
    aucs = []
    for seed in range(max(1, 3000 // n)):
        rows = clusters(2 * n, seed=seed)
        fitted = fit_rkme(rows[:n], seed=seed)
        aucs.append(membership_auc(fitted, rows[:n], rows[n:]))
        report = audit(fitted, rows[:n], held_out=rows[n:])
        assert (report.within_tenth, report.violations()) == (0.0, ())
    assert np.mean(aucs) <= 0.57  # the best of three attacks on few rows; the mean of each is in the benchmark


def test_without_held_out_rows_one_half_attacks_the_fit_of_the_other():
    rows = clusters(2000)
    report = self_audit(fit_rkme(rows), rows)
    assert report.attacked == 1000
    assert 0.45 < report.membership_auc < 0.6
    assert self_audit(fit_rkme(rows[:8], 1), rows[:8]).membership_auc is None


def test_few_rows_stay_in_private_federations_unless_the_owner_says_so():
    few = msgspec.structs.replace(GOOD, rows=299)
    check_publication(few, private=True)
    check_publication(few, private=False, override=True)
    with pytest.raises(PrivacyRefusal, match="below 300"):
        check_publication(few, private=False)
    check_publication(GOOD, private=False)


def test_a_report_is_refused_for_rows_of_another_width():
    with pytest.raises(DimensionMismatch):
        audit(fit_rkme(clusters(100), 5), clusters(100, d=3))
