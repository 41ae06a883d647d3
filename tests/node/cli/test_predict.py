"""``atoll predict`` as people use it: what it refuses before anything is sent, and from rows to predictions."""

from pathlib import Path

import numpy as np
import pytest
from atoll.node.cli.task import read_task


@pytest.fixture
def files(tmp_path, monkeypatch):
    """``files(name=text, ...)`` writes CSV files into the current folder."""
    monkeypatch.chdir(tmp_path)

    def write(**texts):
        for name, text in texts.items():
            (tmp_path / f"{name}.csv").write_text(text)

    return write


ROWS = "a,b\n1,2\n3,4\n"


@pytest.mark.parametrize(
    ("few", "arguments", "code", "words"),
    [
        (
            "a,b,y\n1,2,yes\n",
            (),
            2,
            ("--labelled needs --target", "few.csv has y, which rows.csv has not: --target y?"),
        ),
        ("a,b,y\n1,2,yes\n", ("--target", "z"), 15, ("few.csv: there is no column z", "its columns are a, b, y")),
        ("a,c,y\n1,2,yes\n", ("--target", "y"), 15, ("few.csv has other columns than rows.csv: b missing",)),
        ("a,b,y\n1,2,\n", ("--target", "y"), 15, ("few.csv: row 1 has no y", "leave out rows without a target")),
        ("a,b,y\n", ("--target", "y"), 15, ("few.csv: there are no rows",)),
        ("a,b,y\n1,,yes\n", ("--target", "y"), 15, ("few.csv: 1 cells are empty", "in columns b", "--impute")),
    ],
)
def test_labelled_rows_that_cannot_be_used_are_refused_with_what_to_do(atoll, files, few, arguments, code, words):
    files(rows=ROWS, few=few)
    found, out, err = atoll("predict", "rows.csv", "--labelled", "few.csv", *arguments)
    assert (found, out) == (code, "")
    for each in words:
        assert each in err
    assert "To the node" not in err


@pytest.mark.parametrize(
    ("rows", "arguments", "code", "words"),
    [
        ("a,b\n", (), 15, "rows.csv: there are no rows"),
        ("a,b\n1,\n", (), 15, "in columns b"),
        ("a,b\n1,\n2,\n", ("--impute",), 15, "no row has a finite value in columns b"),
        (ROWS, ("--yes", "--no-send"), 2, "contradict"),
        (ROWS, ("--search-id", "s", "--privacy", "local"), 2, "it is over"),
        (ROWS, ("-o", "none/predictions.csv"), 2, "there is no folder none"),
        (ROWS, ("--report", "none/report.html"), 2, "there is no folder none"),
        (ROWS, ("--unit", "a"), 2, "expected COLUMN=UNIT"),
        (ROWS, (), 10, "is `atoll serve` running?"),
    ],
)
def test_what_cannot_work_is_said_before_the_work(atoll, files, rows, arguments, code, words):
    files(rows=rows)
    found, out, err = atoll("predict", "rows.csv", *arguments)
    assert (found, out) == (code, "")
    assert words in err


def test_what_leaves_this_machine_is_said_first_and_the_target_is_not_among_it(atoll, files):
    files(rows="a,y,b\n1,yes,2\n3,,4\n", few="y,b,a\nyes,2,1\nno,4,3\n")
    code, _, err = atoll("predict", "rows.csv", "--target", "y", "--labelled", "few.csv")
    assert code == 10
    left_out, rough, sent, *_ = err.splitlines()
    assert left_out == "note: the column y of rows.csv is left out: it is what is predicted"
    assert rough == "note: few.csv has 2 labelled rows: what is measured on so few is rough"
    assert "the 2 rows of rows.csv, and 2 labelled rows with their y." in sent


def test_labelled_columns_may_come_in_any_order_and_means_of_the_data_fill_both(files):
    files(rows="a,b\n1,2\n3,\n", few="b,y,extra,a\n,yes,9,7\n")
    task = read_task(Path("rows.csv"), "y", Path("few.csv"), impute=True)
    assert task.rows.values.tolist() == [[1, 2], [3, 2]]
    assert task.labelled.rows.columns == ("a", "b")
    assert task.labelled.rows.values.tolist() == [[7, 2]]
    assert task.labelled.target == ("yes",)
    np.save("rows.npy", np.ones((3, 3)))
    nameless = read_task(Path("rows.npy"), "y", Path("few.csv"), impute=True)
    assert nameless.labelled.rows.values.tolist() == [[1, 9, 7]]
