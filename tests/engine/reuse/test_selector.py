import numpy as np
import pytest
from atoll.engine.errors import DimensionMismatch
from atoll.engine.reuse import JobSelector


def test_each_row_goes_to_one_member_mostly_to_its_own(market, island):
    selector = JobSelector(market.rkmes, None, island)
    shares = selector.shares(market.units)
    assert set(np.unique(shares)) == {0.0, 1.0}
    np.testing.assert_array_equal(shares.sum(1), 1)
    assert (shares.argmax(1) == market.homes).mean() > 0.8


def test_a_member_without_weight_is_never_selected(market, island):
    assert not JobSelector(market.rkmes, [1, 0, 1, 1], island).shares(market.units)[:, 1].any()


def test_the_next_best_answers_where_the_selected_one_has_failed(market, island):
    selector = JobSelector(market.rkmes, None, island)
    outputs = market.outputs.copy()
    outputs[:, 2] = np.nan
    answer = selector.combine(market.units, selector.shares(market.units), outputs)
    assert np.isfinite(answer).all()
    assert selector.covered(market.units).all()


def test_one_member_is_always_selected(market, island):
    selector = JobSelector(market.rkmes[:1], None, island).fit(market.units)
    assert selector.shares(market.units).all()
    assert selector.shares(market.units[:0]).shape == (0, 1)


def test_it_wants_rkmes_of_one_island(market, island):
    with pytest.raises(DimensionMismatch):
        JobSelector([], None, island)
