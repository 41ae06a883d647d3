"""Rules 1 and 2 of the privacy gate, on rows from 60 to 5 000, heavy tails included."""

import numpy as np
import pytest
from atoll.engine.specs import fit_rkme
from atoll.engine.specs.disclosure import disclosure, moved_off


def heavy(n, d, seed=0):
    return np.clip(np.random.default_rng(seed).standard_t(2, size=(n, d)), -6, 6).astype(np.float32)


@pytest.mark.parametrize("d", [1, 2, 5, 30])
@pytest.mark.parametrize("n", [60, 300, 5000])
def test_no_point_of_a_fit_gives_a_row_away(n, d):
    rows = heavy(n, d)
    fitted = fit_rkme(rows)
    assert disclosure(fitted.points, [rows]).share.min() >= 0.1 * (1 - 1e-3)  # points are float32
    nearest = np.square(rows[:, None] - fitted.points).sum(2).argmin(1)
    assert np.bincount(nearest, minlength=len(fitted.weights)).min() >= 5


def test_the_share_is_the_distance_over_the_rows_own_neighbour_distance():
    rows = np.array([[0.0], [1.0], [5.0]], np.float32)
    found = disclosure(np.array([[0.02], [4.0]], np.float32), [rows[:1], rows[1:]])
    np.testing.assert_allclose(found.share, [0.02, 0.25], rtol=1e-5)
    np.testing.assert_allclose(found.reach, [1.0, 4.0])


def test_a_value_that_five_rows_hold_is_nobodys_secret():
    rows = np.array([[0.0]] * 5 + [[1.0]] * 4, np.float32)
    assert list(disclosure(np.array([[0.0], [1.0]], np.float32), [rows]).share) == [np.inf, 0.0]


def test_a_point_on_a_row_is_moved_off_it_and_the_others_stay():
    rows = heavy(500, 2)
    points = np.concatenate([rows[:3], rows[:1] + 40.0]).astype(np.float32)
    moved, keep = moved_off(points, [rows], np.random.default_rng(0), np.arange(4))
    assert keep.all()
    assert (disclosure(moved, [rows]).share >= 0.1).all()
    np.testing.assert_array_equal(moved[3], points[3])
