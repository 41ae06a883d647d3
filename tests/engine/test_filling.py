"""Cells without a number, and what takes their place."""

import numpy as np
import pytest
from atoll.engine.errors import NotFinite
from atoll.engine.filling import filled, means_of
from atoll.engine.tables import Table

HOLED = Table(np.array([[1.0, np.nan], [3.0, 4.0], [np.inf, 8.0]]), ("a", "b"))


def test_column_means_of_what_is_finite_take_the_place_of_the_rest():
    parts = [Table(HOLED.values[:1], ("a", "b")), Table(HOLED.values[1:], ("a", "b"))]

    means = means_of(parts)

    assert means.tolist() == means_of([HOLED]).tolist() == [2.0, 6.0]
    assert filled(HOLED, means).values.tolist() == [[1, 6], [3, 4], [2, 8]]
    assert filled(Table(np.ones((1, 2))), None).values.tolist() == [[1, 1]]


def test_what_cannot_be_filled_is_named():
    with pytest.raises(NotFinite, match="2 cells are empty, NaN or infinite, in columns a, b"):
        filled(HOLED, None)
    with pytest.raises(NotFinite, match=r"no row has a finite value in columns 2$"):
        means_of([Table(np.array([[1.0, np.nan]]))])
