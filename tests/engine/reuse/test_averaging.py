import numpy as np
from atoll.engine.reuse import mean, spread, union, vote_by_label, vote_by_prob

SURE, UNSURE = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.4, 0.6], [0.4, 0.6]])


def test_the_mean_is_equal_weighted_or_by_row():
    np.testing.assert_allclose(mean([SURE, UNSURE]), (SURE + UNSURE) / 2)
    np.testing.assert_allclose(mean([SURE, UNSURE], np.array([3, 1])), 0.75 * SURE + 0.25 * UNSURE)
    np.testing.assert_allclose(mean([SURE, UNSURE], np.array([[1, 0], [0, 1]])), [SURE[0], UNSURE[1]])


def test_votes_by_label_count_heads_and_by_probability_sum_to_one():
    np.testing.assert_allclose(vote_by_label([SURE, UNSURE]), [[0.5, 0.5], [0, 1]])
    np.testing.assert_allclose(vote_by_prob([SURE, 3 * UNSURE]).sum(1), 1)
    np.testing.assert_allclose(vote_by_prob([np.zeros((1, 2))]), 0)


def test_numeric_labels_come_first_and_in_numeric_order():
    assert union([("10", "9"), ("b", "a"), ("9",)]) == ("9", "10", "a", "b")


def test_a_label_that_looks_like_a_digit_but_is_none_is_a_name():
    assert union([("²", "1")]) == ("1", "²")


def test_outputs_are_spread_over_the_common_classes():
    np.testing.assert_allclose(spread(SURE, ("b", "a"), ("a", "b", "c")), [[0.1, 0.9, 0], [0.8, 0.2, 0]])
