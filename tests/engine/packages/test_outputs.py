"""What classifiers answer, made probabilities or told to be none."""

import numpy as np
import pytest
from atoll.engine.errors import ModelError
from atoll.engine.packages.outputs import as_probabilities


def test_probabilities_stay_as_they_are():
    rows = np.random.default_rng(0).dirichlet(np.ones(5), 50).astype(np.float32)
    rows[:10] += 1e-7  # float32 rounds

    assert np.array_equal(as_probabilities(rows), np.clip(rows, 0, 1))


def test_one_against_the_rest_is_divided_by_its_sum():
    rows = np.array([[0.9, 0.9], [0.1, 0.3]], np.float32)

    assert np.allclose(as_probabilities(rows), [[0.5, 0.5], [0.25, 0.75]])


def test_a_classifier_of_one_class_may_be_unsure():
    assert as_probabilities(np.array([[0.25]], np.float32)).tolist() == [[0.25]]


@pytest.mark.parametrize("rows", [[[1e30, 0.0]], [[-2.0, 3.0]], [[0.5, 0.5], [0.0, 0.0]]])
def test_scores_are_refused(rows):
    with pytest.raises(ModelError, match="no probabilities"):
        as_probabilities(np.array(rows, np.float32))
