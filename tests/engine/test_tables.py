import numpy as np
import pytest
from atoll.engine.errors import FeatureMismatch, TableError
from atoll.engine.tables import Table


def csv(tmp_path, text):
    path = tmp_path / "rows.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_is_read_with_its_column_names_and_empty_cells_are_nan(tmp_path):
    table = Table.read(csv(tmp_path, "\ufeffa, b\n1,2\n\n3,\n"))
    assert table.columns == ("a", "b")
    np.testing.assert_array_equal(table.values, [[1, 2], [3, np.nan]])


def test_a_csv_cell_that_is_no_number_is_named_by_line_and_column(tmp_path):
    with pytest.raises(TableError, match=r"rows\.csv:3, column b: 'two' is not a number"):
        Table.read(csv(tmp_path, "a,b\n1,2\n3,two\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "empty"), ("a,b\n1\n", ":2 has 1 cells where the header has 2"), ("a,a\n1,2\n", "named twice: a")],
)
def test_csv_faults_say_what_and_where(tmp_path, text, message):
    with pytest.raises(TableError, match=message):
        Table.read(csv(tmp_path, text))


def test_a_csv_that_is_not_text_is_a_table_error(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(TableError):
        Table.read(path)


class Explosive:
    def __reduce__(self):
        return (pytest.fail, ("the file was unpickled",))


def test_npy_is_read_but_never_unpickled(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.eye(3))
    np.testing.assert_array_equal(Table.read(path).values, np.eye(3))
    np.save(path, np.array([Explosive()], dtype=object), allow_pickle=True)
    with pytest.raises(TableError, match="not a plain numeric array"):
        Table.read(path)


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x93NUMPY\x01\x00"])
def test_a_damaged_npy_is_a_table_error(tmp_path, data):
    path = tmp_path / "rows.npy"
    path.write_bytes(data)
    with pytest.raises(TableError):
        Table.read(path)


def test_select_orders_columns_by_name():
    table = Table.of({"b": [1, 2], "a": [3, 4], "c": [5, 6]})
    np.testing.assert_array_equal(table.select(("a", "b")), [[3, 1], [4, 2]])


def test_select_names_what_is_missing():
    with pytest.raises(FeatureMismatch, match="2 columns are missing: c, d"):
        Table.of({"a": [1], "b": [2]}).select(("a", "c", "d"))


def test_a_nameless_table_is_selected_by_width():
    table = Table.of(np.eye(2))
    np.testing.assert_array_equal(table.select(("x", "y")), np.eye(2))
    with pytest.raises(FeatureMismatch):
        table.select(("x",))


@pytest.mark.parametrize("rows", [np.zeros(3), np.zeros((3, 0)), [["a"]], np.zeros((2, 2, 2))])
def test_what_is_no_table_is_refused(rows):
    with pytest.raises(TableError):
        Table.of(rows)


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(TableError):
        Table.of({"a": [1], "b": [1, 2]})
