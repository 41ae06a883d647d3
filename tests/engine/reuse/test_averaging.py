import numpy as np
import pytest
from atoll.engine.errors import DimensionMismatch, SpecificationError
from atoll.engine.reuse import Averaging, Single, aligned, spread, union

SURE, UNSURE = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.4, 0.6], [0.4, 0.6]])


def combined(kind, outputs, shares=(1.0, 1.0)):
    stacked = np.stack(outputs, axis=1)
    given = np.broadcast_to(np.array(shares, np.float64)[..., : len(outputs)], stacked.shape[:2])
    return Averaging(len(outputs), None, kind).combine(np.zeros((len(stacked), 1)), given, stacked)


def test_the_mean_is_equal_weighted_or_by_row():
    np.testing.assert_allclose(combined("mean", [SURE, UNSURE]), (SURE + UNSURE) / 2)
    np.testing.assert_allclose(combined("mean", [SURE, UNSURE], [3, 1]), 0.75 * SURE + 0.25 * UNSURE)
    np.testing.assert_allclose(combined("mean", [SURE, UNSURE], [[1, 0], [0, 1]]), [SURE[0], UNSURE[1]])


def test_votes_by_label_count_heads_and_by_probability_sum_to_one():
    np.testing.assert_allclose(combined("vote_by_label", [SURE, UNSURE]), [[0.5, 0.5], [0, 1]])
    np.testing.assert_allclose(combined("vote_by_prob", [SURE, 3 * UNSURE]).sum(1), 1)
    np.testing.assert_allclose(combined("vote_by_prob", [np.zeros((1, 2))]), 0)


def test_numeric_labels_come_first_and_in_numeric_order():
    assert union([("10", "9"), ("b", "a"), ("9",)]) == ("9", "10", "a", "b")
    assert union([("2" + "0" * 5000, "007", "8", "0")]) == ("0", "007", "8", "2" + "0" * 5000)


def test_a_label_that_looks_like_a_digit_but_is_none_is_a_name():
    assert union([("²", "1")]) == ("1", "²")


def test_outputs_are_spread_over_the_common_classes():
    np.testing.assert_allclose(spread(SURE, ("b", "a"), ("a", "b", "c")), [[0.1, 0.9, 0], [0.8, 0.2, 0]])


def test_names_that_the_users_labels_add_extend_the_classes():
    names, outputs = aligned([SURE], [("a", "b")], ("c",))
    assert names == ("a", "b", "c")
    np.testing.assert_allclose(outputs[:, 0], [[0.9, 0.1, 0], [0.2, 0.8, 0]])


def test_disjoint_classes_and_missing_answers_are_aligned():
    names, outputs = aligned([SURE, np.full((2, 2), np.nan)], [("a", "b"), ("c", "d")])
    assert names == ("a", "b", "c", "d")
    assert np.isnan(outputs[:, 1]).all()
    assert outputs[:, 0].sum() == 2


def test_values_pass_through_and_must_be_of_one_width():
    names, outputs = aligned([SURE, UNSURE], [(), ()])
    assert (names, outputs.shape) == ((), (2, 2, 2))
    for others, named in (([SURE, SURE[:, :1]], [(), ()]), ([SURE, SURE], [("a", "b"), ()])):
        with pytest.raises(DimensionMismatch):
            aligned(others, named)


@pytest.mark.parametrize("kind", ["mean", "vote_by_label", "vote_by_prob"])
def test_members_without_an_answer_are_left_out(kind):
    averaging = Averaging(2, [3, 1], kind)
    outputs = np.stack([SURE, UNSURE], axis=1)
    outputs[0, 0] = np.nan
    shares = averaging.fit(SURE).shares(SURE)
    np.testing.assert_allclose(shares, [[0.75, 0.25]] * 2)
    answer = averaging.combine(SURE, shares, outputs)
    np.testing.assert_allclose(answer[0], UNSURE[0] if kind != "vote_by_label" else [0, 1])
    np.testing.assert_allclose(answer.sum(1), 1)


def test_single_asks_one_member_only():
    single = Single(1, 3).fit(SURE)
    np.testing.assert_array_equal(single.shares(SURE), [[0, 1, 0]] * 2)
    assert single.covered(SURE).all()
    with pytest.raises(SpecificationError):
        Single(3, 3)
