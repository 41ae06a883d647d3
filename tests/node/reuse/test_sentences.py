"""What is said of a team before and after it predicts."""

from types import SimpleNamespace

import pytest
from atoll.node.reuse import sentences
from atoll.node.reuse.query import ReuseQuery


def team(explained):
    return SimpleNamespace(served=explained >= 0.5, explained=explained, absent=(), class_names=(), members=())


@pytest.mark.parametrize(
    ("explained", "uncovered", "said"),
    [
        (0.9, 0.0, ""),
        (0.75, 0.02, ""),
        (0.521, 0.017, "The models explain only 52.1% of your data, so they may not know what is in your rows"),
        (0.4, 0.0, "predictions are guesses"),
        (0.9, 0.2, "20.0% of your rows are unlike all that the models know: what is predicted for them is a guess"),
    ],
)
def test_little_that_is_explained_is_warned_of_though_no_row_is_unlike(explained, uncovered, said):
    told = sentences.advice(team(explained), uncovered, ReuseQuery("search"))
    assert said in told
    assert bool(said) == bool(told)
