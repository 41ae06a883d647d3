"""A user's file is read by the columns that are used, and no more of it is held than is worked on."""

import tracemalloc

import numpy as np
import pytest
from atoll.engine.errors import FeatureMismatch
from atoll.engine.tables import Table
from atoll.node.errors import RequestInvalid
from atoll.node.reuse.rows import Labelled, Rows, in_island

WIDTH, COUNT = 2048, 4096


@pytest.fixture
def wide(tmp_path, digits):
    """Digits, in a file that is 32 times as wide."""
    names = digits.island().names
    columns = (*(f"other_{place}" for place in range(WIDTH - len(names))), *names)
    array = np.lib.format.open_memmap(tmp_path / "wide.npy", mode="w+", dtype=np.float32, shape=(COUNT, WIDTH))
    array[:, -len(names) :] = np.resize(digits.of(0, 1).values, (COUNT, len(names)))
    array.flush()
    return Rows.open(tmp_path / "wide.npy", columns, 10**6)


def peak_of(work):
    tracemalloc.start()
    try:
        return work(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_only_the_columns_of_the_island_are_read(wide, digits):
    places = np.arange(1, COUNT, 2)

    raw, peak = peak_of(lambda: in_island(wide, digits.island(), {"other_1": "kg"}, places))

    assert np.array_equal(raw, np.resize(digits.of(0, 1).values, (COUNT, 64))[1::2])
    assert peak < 5 * raw.nbytes


def test_labels_that_do_not_match_are_refused_before_the_rows_are_read(wide):
    def refused():
        with pytest.raises(RequestInvalid, match="3 labels for 4096"):
            Labelled(wide, ("0", "1", "1"))

    assert peak_of(refused)[1] < 1 << 20


def test_what_is_missing_is_named_with_what_is_there(wide, digits):
    rows = Rows(wide.path, tuple(f"x{place}" for place in range(WIDTH)), COUNT, WIDTH)

    with pytest.raises(FeatureMismatch, match=r"64 columns are missing: .* 2048 columns are unexpected: x0"):
        in_island(rows, digits.island(), {})
    with pytest.raises(FeatureMismatch, match="units of columns that are not there: mass"):
        in_island(wide, digits.island(), {"mass": "kg"})
    with pytest.raises(FeatureMismatch, match="2 nameless columns"):
        in_island(Table(np.zeros((1, 2))), digits.island(), {})


def test_a_label_is_no_novel(wide):
    with pytest.raises(RequestInvalid, match="longer than 400 characters"):
        Labelled(Table(np.zeros((2, 3))), ("0", "1" * 5000))
