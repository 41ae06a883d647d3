import numpy as np
import pytest
from atoll.engine.matching import gram_matrix, solve_mixture

SHARES = np.array([0.7, 0.3, 0.0, 0.0])


def test_known_weights_are_recovered(owners):
    gram = gram_matrix(list(owners[1].values()))
    mixture = solve_mixture(gram, gram @ SHARES, float(SHARES @ gram @ SHARES))
    assert mixture.members == (0, 1)
    assert mixture.weights == pytest.approx((0.7, 0.3), abs=1e-3)
    assert mixture.mmd2 == pytest.approx(0, abs=1e-6)
    assert mixture.uncovered == pytest.approx(0, abs=1e-3)


def test_what_no_learnware_covers_is_uncovered_mass():
    mixture = solve_mixture(np.array([[1.0]]), np.array([0.6]), 0.6**2 + 0.4**2)
    assert mixture.weights == pytest.approx((0.6,), abs=1e-6)
    assert mixture.uncovered == pytest.approx(0.4, abs=1e-6)
    assert mixture.mmd2 == pytest.approx(0.16, abs=1e-6)


def test_a_far_decoy_gets_no_weight():
    gram = np.eye(3)
    mixture = solve_mixture(gram, np.array([0.5, 0.5, 1e-9]), 0.5)
    assert set(mixture.members) == {0, 1}


def test_no_candidates_leave_everything_uncovered():
    mixture = solve_mixture(np.zeros((0, 0)), np.zeros(0), 0.5)
    assert (mixture.members, mixture.mmd2, mixture.uncovered) == ((), 0.5, 1.0)


def test_no_more_members_than_asked_for(owners):
    gram = gram_matrix(list(owners[1].values()))
    even = np.full(4, 0.25)
    mixture = solve_mixture(gram, gram @ even, float(even @ gram @ even), max_members=2)
    assert len(mixture.members) == 2
