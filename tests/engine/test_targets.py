"""A column of a table is the target, as text; the others are numbers."""

import numpy as np
import pandas as pd
import pytest
from atoll.engine.errors import TableError
from atoll.engine.targets import chunks_without, columns_of, read_labelled
from pyarrow import feather

FRAME = pd.DataFrame({"a": [1.0, 2.0, 3.0], "kind": ["cat", "dog", "cat"], "b": [4, 5, 6]})


def written(kind, tmp_path, frame=FRAME):
    path = tmp_path / f"rows.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "parquet":
        frame.to_parquet(path)
    else:
        feather.write_feather(frame, str(path), compression="uncompressed")
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet", "feather", "arrow"])
def test_the_target_is_told_apart_from_what_is_given(kind, tmp_path):
    path = written(kind, tmp_path)
    rows, target = read_labelled(path, "kind")
    assert rows.columns == ("a", "b")
    np.testing.assert_array_equal(rows.values, [[1, 4], [2, 5], [3, 6]])
    assert target == ("cat", "dog", "cat")
    assert columns_of(path) == ("a", "kind", "b")
    (without,) = chunks_without(path, "kind")
    np.testing.assert_array_equal(without.values, rows.values)


def test_a_column_that_is_not_there_is_not_missed_where_it_is_only_left_out(tmp_path):
    frame = FRAME.drop(columns="kind")
    (rows,) = chunks_without(written("csv", tmp_path, frame), "kind")
    assert rows.columns == ("a", "b")
    np.save(tmp_path / "rows.npy", frame.to_numpy())
    (rows,) = chunks_without(tmp_path / "rows.npy", "kind")
    assert rows.values.shape == (3, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "there is no column kind"),
        ("kind\ncat\n", "there is no column but kind"),
        ("a;kind\n1;cat\n", "the columns look separated by semicolons"),
        ("a,kind\n", "there are no rows"),
        ("a,kind\n1,\n", "row 1 has no kind"),
        ("a,kind\n1\n", "line 2 has 1 cells where the header has 2"),
        ("kind,a\n\ncat,1\ndog,x\n", "line 4, column a: 'x' is not a number"),
        ("", "the first line is empty"),
        ('a,kind\n1,"', "row 1 has no kind"),
    ],
)
def test_what_is_wrong_is_said(text, said, tmp_path):
    path = tmp_path / "few.csv"
    path.write_text(text)
    with pytest.raises(TableError, match=said):
        read_labelled(path, "kind")


def test_a_mistyped_target_is_answered_with_the_nearest_name(tmp_path):
    path = tmp_path / "few.csv"
    path.write_text(",".join(f"pixel_{place}" for place in range(9)) + ",outcome\n")
    with pytest.raises(TableError, match="there is no column Outcome") as refused:
        read_labelled(path, "Outcome")
    assert refused.value.hint.startswith("did you mean outcome? its columns are pixel_0,")
    assert refused.value.hint.endswith("pixel_7, … and 2 more")


def test_files_that_name_no_columns_have_no_target(tmp_path):
    np.save(tmp_path / "few.npy", np.zeros((2, 2)))
    with pytest.raises(TableError, match="names no columns"):
        read_labelled(tmp_path / "few.npy", "kind")
    (tmp_path / "few.csv").write_bytes(b"a,kind\n1,\xff\n")
    with pytest.raises(TableError, match="UTF-8"):
        read_labelled(tmp_path / "few.csv", "kind")
    (tmp_path / "few.parquet").write_bytes(b"no")
    with pytest.raises(TableError, match="parquet"):
        read_labelled(tmp_path / "few.parquet", "kind")
