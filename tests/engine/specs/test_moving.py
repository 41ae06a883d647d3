"""RKMEs moved between islands of the same features."""

import numpy as np
import pytest
from atoll.engine.errors import FeatureMismatch
from atoll.engine.islands import Feature, Island
from atoll.engine.specs import fit_rkme, mmd2
from atoll.engine.specs.moving import moved, reachable


def island(unit="degC", names=("speed", "temp"), loc=0.0, scale=10.0, gamma=0.5):
    features = (Feature(names[0], "m/s", "affine", 1.0, 2.0), Feature(names[1], unit, "affine", loc, scale))
    return Island("table", 2, gamma, features)


def test_a_moved_rkme_is_that_of_the_rows_in_the_other_island():
    rng = np.random.default_rng(3)
    rows = {"speed": rng.normal(2.0, 2.0, 800), "temp": rng.normal(20.0, 8.0, 800)}
    fahrenheit = {**rows, "temp": rows["temp"] * 1.8 + 32.0}
    here, there = island(), island("degF", loc=60.0, scale=15.0, gamma=0.7)
    fitted = fit_rkme(here.transform(rows), gamma=here.gamma)
    result = moved(fitted, here, there)
    assert (result.gamma, result.count) == (there.gamma, fitted.count)
    assert mmd2(result, fit_rkme(there.transform(fahrenheit), gamma=there.gamma)) < 2e-3


def test_islands_are_reached_whose_features_measure_the_same():
    here = island()
    near, other_quantity, other_names = island("K"), island("kg"), island(names=("speed", "wind"))
    assert reachable(here, [near, here, other_quantity, other_names]) == [near]
    with pytest.raises(FeatureMismatch):
        moved(fit_rkme(np.zeros((10, 2), np.float32), gamma=0.5), here, other_names)


def test_what_has_no_logarithm_there_lies_at_the_edge():
    here = Island("table", 1, 1.0, (Feature("x", "", "affine", -5.0, 1.0),))
    there = Island("table", 1, 1.0, (Feature("x", "", "log1p"),))
    result = moved(fit_rkme(np.zeros((10, 1), np.float32), gamma=1.0), here, there)
    assert np.isfinite(result.points).all()
