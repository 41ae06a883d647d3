"""What a measured loss is worth."""

import numpy as np
import pytest
from atoll.node.reuse.measured import baseline, expected, measured


def test_no_error_on_few_rows_is_not_certainty():
    low, high = measured((0.0, 0.0), 3, "classification")[1:]
    assert (low, high) == (0.0, pytest.approx(0.562, abs=0.001))  # Wilson's
    assert measured((1.0, 0.0), 3, "classification")[1:] == (pytest.approx(0.438, abs=0.001), 1.0)
    assert measured((0.1, 0.03), 100, "classification")[1:] == pytest.approx((0.0552, 0.1744), abs=0.0005)


def test_fewer_rows_than_twenty_are_called_no_measure():
    assert "So few rows are no measure" in expected((0.0, 0.0), 3, "classification", 0.5)
    assert "no measure" not in expected((0.0, 0.0), 20, "classification", 0.5)


def test_a_regression_is_told_in_its_own_units_beside_the_mean():
    told = expected((31.11, 3.0), 100, "regression", 90.25)
    assert "root mean squared error 5.578 (95% interval 5.023 to 6.082)" in told
    assert "typically off by about 5.578, always saying the mean of your labels by 9.5." in told


def test_the_baseline_looks_at_nothing():
    assert baseline(np.array([0, 0, 1, 2]), "classification") == 0.5
    assert baseline(np.array([1.0, 3.0]), "regression") == 1.0
