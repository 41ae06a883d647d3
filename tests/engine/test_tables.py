import importlib.util
import struct
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from atoll.engine import tables
from atoll.engine.errors import FeatureMismatch, TableError
from atoll.engine.tables import Table
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import feather, parquet

FRAME = pd.DataFrame({"b": [1.5, np.nan, 3.0, 4.0, 5.0], "a": [True, False, True, True, False], "c": range(5)})
WRITERS = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "parquet": lambda frame, path: frame.to_parquet(path),
    "feather": lambda frame, path: feather.write_feather(frame, str(path)),
    "arrow": lambda frame, path: feather.write_feather(frame, str(path), compression="uncompressed"),
}


def csv(tmp_path, text):
    path = tmp_path / "rows.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return path


def written(frame, kind, tmp_path):
    path = tmp_path / f"rows.{kind}"
    WRITERS[kind](frame, path)
    return path


def test_csv_is_read_with_its_column_names_and_empty_cells_are_nan(tmp_path):
    table = Table.read(csv(tmp_path, "\ufeffa, b,c\n1,2,\n\n3,,\r\n,,5"))
    assert table.columns == ("a", "b", "c")
    np.testing.assert_array_equal(table.values, [[1, 2, np.nan], [3, np.nan, np.nan], [np.nan, np.nan, 5]])


def test_a_quoted_csv_is_read_cell_by_cell(tmp_path):
    table = Table.read(csv(tmp_path, '"a,1","b"\n"1","2.5"\n"",3\n'))
    assert table.columns == ("a,1", "b")
    np.testing.assert_array_equal(table.values, [[1, 2.5], [np.nan, 3]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line is empty"),
        ("a,b\n1\n", "line 2 has 1 cells where the header has 2"),
        ("a,b\n1,2\n1,2,3\n", "line 3 has 3 cells where the header has 2"),
        ("a,b\n1,2,3\n", "line 2 has 3 cells where the header has 2"),
        ("a,b\n1,2\n3,two\n", "line 3, column b: 'two' is not a number"),
        ("a,b\n1,2\n\n3,1_000\n", "line 4, column b: '1_000' is not a number"),
        ("a,b\n1,\u0663\n", "line 2, column b: '\u0663' is not a number"),
        ('a,b\n1,"1"2\n', "line 2: ',' expected after '\"'"),
        ("a;b\n1;2\n", "the columns look separated by semicolons, not by commas"),
        ("a;b\n1,5;2\n", "the columns look separated by semicolons, not by commas"),
        ("a\tb\n1\t2\n", "the columns look separated by tabs, not by commas"),
        ("a,a\n1,2\n", "columns named twice: a"),
        (",a\n1,2\n", "column 1 of 2 has no name"),
    ],
)
def test_csv_faults_say_what_and_where(tmp_path, text, message):
    with pytest.raises(TableError) as caught:
        Table.read(csv(tmp_path, text))
    assert caught.value.message.endswith(f"rows.csv: {message}")


def test_a_csv_that_is_not_text_is_a_table_error(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(TableError, match="UTF-8"):
        Table.read(path)


CELLS = st.text(alphabet='0123456789.eE+-_nai \t"x\x1c', max_size=6) | st.floats().map(str) | st.just("")


@given(st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=5), st.sampled_from(["\n", "\r\n"]))
def test_the_fast_way_through_a_csv_gives_what_reading_cell_by_cell_gives(rows, end):
    lines = [",".join(cells) + end for cells in rows]
    header = ("a", "b", "c")[: len(rows[0])] if rows else ("a",)
    assert outcome(tables._cells, lines, header) == outcome(tables._cell_by_cell, lines, header)


def outcome(read, lines, header):
    try:
        return read(lines, header, 2).tobytes()
    except TableError as error:
        return error.message


def test_a_missing_cell_in_a_csv_of_one_column_is_written_as_an_empty_string(tmp_path):
    path = written(pd.DataFrame({"a": [1, None, 3]}), "csv", tmp_path)
    np.testing.assert_array_equal(Table.read(path).values, [[1], [np.nan], [3]])


class Explosive:
    def __reduce__(self):
        return (pytest.fail, ("the file was unpickled",))


def test_npy_is_read_but_never_unpickled(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.eye(3, dtype=np.int8))
    np.testing.assert_array_equal(Table.read(path).values, np.eye(3))
    np.save(path, np.array([Explosive()], dtype=object), allow_pickle=True)
    with pytest.raises(TableError, match="not a plain numeric array"):
        Table.read(path)


@pytest.mark.parametrize("name", ["rows.npy", "rows.parquet", "rows.feather", "rows.arrow"])
@pytest.mark.parametrize("data", [b"", b"garbage" * 10, b"\x93NUMPY\x01\x00", b"PAR1" * 20, b"ARROW1\0\0" * 20])
def test_a_damaged_file_is_a_table_error(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(TableError, match="not "):
        Table.read(path)


@pytest.mark.parametrize("shape", ["(9223372036854775807, 8)", "(-1, 2)", "(10, 10)", "()", "(4,)"])
def test_a_npy_that_declares_what_it_does_not_hold_is_a_table_error(tmp_path, shape):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    path = tmp_path / "rows.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(32))
    with pytest.raises(TableError):
        Table.read(path)


@pytest.mark.parametrize("kind", WRITERS)
def test_files_of_every_kind_hold_the_same_table(tmp_path, kind):
    path = written(FRAME.astype({"a": int}) if kind == "csv" else FRAME, kind, tmp_path)
    table = Table.read(path)
    assert table.columns == ("b", "a", "c")
    np.testing.assert_array_equal(table.values, Table.of(FRAME).values)
    assert table.values.dtype == np.float64


@pytest.mark.parametrize("kind", [*WRITERS, "npy"])
@pytest.mark.parametrize("rows", [1, 2, 5, 100])
def test_chunks_in_order_make_the_table(tmp_path, kind, rows):
    path = tmp_path / f"rows.{kind}"
    frame = FRAME.astype(float)
    np.save(path, frame.to_numpy()) if kind == "npy" else WRITERS[kind](frame, path)
    chunks = list(Table.chunks(path, rows))
    assert [len(chunk.values) for chunk in chunks] == [len(part) for part in np.split(frame, range(rows, 5, rows))]
    np.testing.assert_array_equal(np.concatenate([chunk.values for chunk in chunks]), frame)
    assert {chunk.columns for chunk in chunks} == {() if kind == "npy" else ("b", "a", "c")}


@pytest.mark.parametrize("kind", [*WRITERS, "npy"])
def test_a_file_without_rows_is_one_empty_chunk(tmp_path, kind):
    path, frame = tmp_path / f"rows.{kind}", FRAME.astype(float).iloc[:0]
    np.save(path, frame.to_numpy()) if kind == "npy" else WRITERS[kind](frame, path)
    (chunk,) = Table.chunks(path)
    assert chunk.values.shape == (0, 3)


def test_row_groups_and_chunks_need_not_agree(tmp_path):
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"a": range(1000)}), path, row_group_size=7)
    assert [len(chunk.values) for chunk in Table.chunks(path, 300)] == [300, 300, 300, 100]


def test_chunks_say_which_line_of_the_file_is_wrong(tmp_path):
    chunks = Table.chunks(csv(tmp_path, "a\n1\n2\n3\n4\nfive\n"), rows=2)
    assert next(chunks).values.tolist() == [[1], [2]]
    with pytest.raises(TableError, match="line 6, column a: 'five'"):
        list(chunks)
    with pytest.raises(TableError, match="chunks of 0 rows"):
        next(Table.chunks(csv(tmp_path, "a\n"), rows=0))


def test_a_file_that_is_not_there_is_the_usual_error(tmp_path):
    for name in ("rows.csv", "rows.npy", "rows.parquet", "rows.arrow"):
        with pytest.raises(FileNotFoundError):
            Table.read(tmp_path / name)


@pytest.mark.parametrize("name", ["rows.parquet", "rows.ARROW", "rows.feather"])
def test_without_pyarrow_the_error_says_what_to_install(tmp_path, monkeypatch, name):
    path = tmp_path / name
    path.write_bytes(b"")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TableError, match=r"pip install 'atoll\[tables\]'"):
        Table.read(path)


def test_the_index_of_a_pandas_frame_is_no_column(tmp_path):
    frame = FRAME.set_index(pd.Index(list("vwxyz"), name="key"))
    for rows in (frame, pa.Table.from_pandas(frame)):
        assert Table.of(rows).columns == ("b", "a", "c")
    assert Table.read(written(frame, "parquet", tmp_path)).columns == ("b", "a", "c")


NUMBERS = {
    "pandas Int64": pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}),
    "pandas boolean": pd.DataFrame({"a": pd.array([True, None], dtype="boolean")}),
    "pandas on Arrow": pd.DataFrame({"a": pd.array([1, None], dtype="int64[pyarrow]")}),
    "pandas objects": pd.DataFrame({"a": np.array([Decimal(1), None], dtype=object)}),
    "pandas NA": pd.DataFrame({"a": np.array([1, pd.NA], dtype=object)}),
    "arrow int": pa.table({"a": pa.array([1, None])}),
    "arrow bool": pa.table({"a": pa.array([True, None])}),
    "arrow decimal": pa.table({"a": pa.array([Decimal("1.00"), None])}),
    "arrow half": pa.table({"a": pa.array([1.0, None], pa.float16())}),
    "arrow chunked": pa.table({"a": pa.chunked_array([[1], [None]])}),
    "arrow batch": pa.record_batch({"a": pa.array([1, None])}),
    "dict of lists": {"a": [1, None]},
    "dict of arrow": {"a": pa.array([1, None])},
    "dict of pandas": {"a": pd.Series([1, None], dtype="Int64")},
    "masked": {"a": np.ma.array([1, 2], mask=[False, True])},
    "structured": np.array([(1,), (np.nan,)], dtype=[("a", "f4")]),
}


@pytest.mark.parametrize("rows", NUMBERS.values(), ids=NUMBERS)
def test_numbers_of_any_type_become_float64_and_what_is_missing_nan(rows):
    table = Table.of(rows)
    assert (table.columns, table.values.dtype) == (("a",), np.float64)
    np.testing.assert_array_equal(table.values, [[1], [np.nan]])


def test_integers_beyond_two_to_the_53_are_rounded_alike():
    values = [2**63 - 1]
    assert {Table.of(rows({"a": values})).values[0, 0] for rows in (dict, pd.DataFrame, pa.table)} == {2.0**63}


OTHERS = {
    "pandas str": (pd.DataFrame({"a": [1], "b": ["x"]}), "str"),
    "pandas category": (pd.DataFrame({"a": [1], "b": pd.Categorical([1])}), "category"),
    "pandas date": (pd.DataFrame({"a": [1], "b": pd.to_datetime(["2020-01-01"])}), "datetime64"),
    "pandas objects": (pd.DataFrame({"a": [1], "b": [[1]]}), "list"),
    "arrow string": (pa.table({"a": [1], "b": ["1"]}), "string"),
    "arrow dictionary": (pa.table({"a": [1], "b": pa.array([1]).dictionary_encode()}), "dictionary"),
    "arrow timestamp": (pa.table({"a": [1], "b": pa.array([1], pa.timestamp("s"))}), "timestamp"),
    "arrow list": (pa.table({"a": [1], "b": [[1]]}), "list"),
    "dict of strings": ({"a": [1], "b": ["1"]}, "<U1"),
    "dict of dates": ({"a": [1], "b": np.array(["2020"], "M8[D]")}, "datetime64"),
    "dict of complex": ({"a": [1], "b": [1j]}, "complex128"),
    "dict of ragged": ({"a": [1], "b": [[1], [1, 2]]}, "inhomogeneous"),
    "dict of matrices": ({"a": [1], "b": [[1]]}, "shape"),
    "dict of scalars": ({"a": [1], "b": 1}, "shape"),
    "dict of huge": ({"a": [1], "b": [10**400]}, "too large"),
}


@pytest.mark.parametrize(("rows", "kind"), OTHERS.values(), ids=OTHERS)
def test_a_column_of_anything_else_is_named_with_its_type(rows, kind):
    with pytest.raises(TableError, match=f"column b .*{kind}"):
        Table.of(rows)


@pytest.mark.parametrize(
    "rows", [np.zeros(3), np.zeros((3, 0)), [["a"]], [["1"]], np.zeros((2, 2, 2)), {}, [[1], [1, 2]]]
)
def test_what_is_no_table_is_refused(rows):
    with pytest.raises(TableError):
        Table.of(rows)


def test_columns_of_unequal_length_are_named():
    with pytest.raises(TableError, match=r"unequal length: a \(1\), b \(2\)"):
        Table.of({"a": [1], "b": [1, 2]})


def test_names_are_made_strings_and_must_be_unique_and_not_empty():
    assert Table.of(pd.DataFrame({0: [1], "x ": [2]})).columns == ("0", "x")
    for rows in (pd.DataFrame({0: [1], "0": [2]}), pa.Table.from_arrays([[1], [2]], ["0", "0"])):
        with pytest.raises(TableError, match="named twice: 0"):
            Table.of(rows)
    with pytest.raises(TableError, match="column 2 of 2 has no name"):
        Table.of({"a": [1], " ": [2]})
    with pytest.raises(TableError, match="1 column names for 2 columns"):
        Table(np.zeros((1, 2)), ("a",))


def test_select_orders_columns_by_name_and_leaves_others_out():
    table = Table.of({"b": [1, 2], "a": [3, 4], "c": [5, 6]})
    np.testing.assert_array_equal(table.select(("a", "b")), [[3, 1], [4, 2]])


def test_a_mismatch_names_what_is_missing_and_what_is_unexpected():
    table = Table.of({"a": [1], "b": [2], "e": [3]})
    assert table.mismatch(("e", "b", "a")) == ""
    assert table.mismatch(("a", "b")) == "1 columns are unexpected: e"
    capital = Table(np.ones((1, 1)), ("Depth",)).mismatch(("depth", "width"))
    assert capital.endswith("1 columns are unexpected: Depth; did you mean depth for Depth?")
    with pytest.raises(FeatureMismatch, match="2 columns are missing: c, d; 1 columns are unexpected: e"):
        table.select(("a", "b", "c", "d"))


def test_a_nameless_table_is_selected_by_width():
    table = Table.of(np.eye(2))
    np.testing.assert_array_equal(table.select(("x", "y")), np.eye(2))
    with pytest.raises(FeatureMismatch, match="2 nameless columns where 1 are expected"):
        table.select(("x",))
