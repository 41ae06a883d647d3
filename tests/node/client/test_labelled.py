"""Labelled rows as scripts give them."""

import numpy as np
import pandas as pd
import pytest
from atoll.node.client.labelled import labelled_of
from atoll.node.errors import RequestInvalid

FRAME = pd.DataFrame({"a": [1.0, 2.0], "outcome": ["yes", "no"], "b": [3.0, 4.0]})


@pytest.mark.parametrize("form", ["file", "frame", "dict", "pair"])
def test_rows_and_labels_are_told_apart(form, tmp_path):
    path = tmp_path / "few.csv"
    FRAME.to_csv(path, index=False)
    given = {
        "file": (str(path), "outcome"), "frame": (FRAME, "outcome"), "dict": (FRAME.to_dict("list"), "outcome"),
        "pair": (FRAME[["a", "b"]], FRAME["outcome"]),
    }  # fmt: skip
    rows, labels = labelled_of(given[form])
    assert rows.columns == ("a", "b")
    assert rows.values.tolist() == [[1, 3], [2, 4]]
    assert labels == ("yes", "no")


@pytest.mark.parametrize(
    ("given", "said", "hint"),
    [
        (FRAME, "labelled is of type DataFrame, and not a pair", "labelled=(rows, labels)"),
        ((FRAME, "Outcome"), "there is no column Outcome", "did you mean outcome?"),
        ((np.ones((2, 2)), "outcome"), "no column outcome in rows of type ndarray", "the name of their column"),
        ((np.ones((2, 2)), np.ones((2, 2))), "labels of shape", "labels"),
    ],
)
def test_what_is_no_pair_of_rows_and_labels_is_refused_with_how_it_is_given(given, said, hint):
    with pytest.raises(RequestInvalid, match=said) as refused:
        labelled_of(given)
    assert hint in refused.value.hint
