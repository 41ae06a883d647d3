"""Whose rows an owner answers: by all that a peer was answered, so that frames neither hurt nor help."""

import numpy as np
from atoll.engine.matching.support import LEAST
from atoll.node.policy.support import FORGIVEN, ROWS, SURPLUS, Supports

ID = b"L" * 32


def test_a_batch_is_judged_by_itself():
    supports = Supports()
    assert not supports.admit("p", ID, 200, 0.1)
    assert supports.admit("p", ID, 200, 0.9)
    assert not supports.admit("p", ID, 2000, 0.05)


def test_a_frame_that_lies_elsewhere_passes_with_the_whole():
    supports = Supports()
    assert supports.admit("p", ID, 4096, 0.9)
    assert supports.admit("p", ID, 1000, 0.05)
    assert not supports.admit("q", ID, 4096, 0.05)
    assert not supports.admit("p", b"M" * 32, 4096, 0.05)


def test_whoever_asks_row_by_row_gains_nothing():
    supports, rng = Supports(), np.random.default_rng(0)
    answered = sum(supports.admit("p", ID, 1, float(rng.uniform(0, 0.05))) for _ in range(1000))
    assert answered < 5
    assert all(supports.admit("p", ID, 1, float(rng.uniform(0.4, 1.2))) for _ in range(100))


def test_what_was_good_is_not_good_for_ever():
    supports = Supports()
    for _ in range(100):
        assert supports.admit("p", ID, ROWS, 1.0)
    answered = sum(100 * supports.admit("p", ID, 100, 0.0) for _ in range(10_000))
    assert answered <= SURPLUS / LEAST


def test_a_few_refusals_cost_nothing_and_a_search_for_what_passes_does():
    supports = Supports()
    for tried in range(FORGIVEN + 1):
        assert supports.forgiven("p", ID)
        assert not supports.admit("p", ID, 100, 0.0), tried
    assert not supports.forgiven("p", ID)
    assert supports.forgiven("q", ID)


def test_rows_of_somebody_else_at_the_edge_are_no_hindrance():
    supports = Supports()
    for _ in range(9):
        supports.admit("p", ID, 1, 0.2)
    assert supports.admit("p", ID, 10, 0.25)
