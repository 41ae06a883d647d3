"""Files of strangers are read by a process that may do nothing else, for a time, a few at once."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from atoll.engine.errors import SpecificationError
from atoll.node.errors import NodeBusy
from atoll.node.reuse.rows import MAX_LABELLED
from atoll.node.web.reading import fitting
from atoll.node.web.reading.fitting import FOR_THE_KNOWN, PLACES, Fitting, Reading, Unreadable

TRY = """
import json, socket, sys
from pathlib import Path
from atoll.engine.runtime import kernel
from atoll.node.web.reading.fitter import confine

file, second, other = map(Path, sys.argv[1:])

def attempt(act):
    try:
        act()
    except (OSError, MemoryError) as error:
        return type(error).__name__
    return "done"

confine(file, second)
print(json.dumps({
    "landlock": kernel.read_only_beneath([str(file), str(second)]),
    "own": attempt(file.read_bytes),
    "second": attempt(second.read_bytes),
    "other": attempt(other.read_bytes),
    "write": attempt(lambda: file.with_name("new").write_bytes(b"x")),
    "memory": attempt(lambda: bytearray(6 << 30)),
}))
"""


def test_the_process_reads_its_files_and_nothing_else(tmp_path):
    (tmp_path / "own").mkdir()
    own, second, other = tmp_path / "own" / "rows.csv", tmp_path / "own" / "few.csv", tmp_path / "other.csv"
    for path in (own, second, other):
        path.write_text("a\n1\n")
    said = subprocess.run([sys.executable, "-P", "-c", TRY, own, second, other], capture_output=True, check=True).stdout
    found = json.loads(said)
    assert (found["own"], found["second"], found["memory"]) == ("done", "done", "MemoryError")
    if not found["landlock"]:
        pytest.skip("this kernel has no Landlock")
    assert (found["other"], found["write"]) == ("PermissionError", "PermissionError")


@pytest.fixture
async def reader():
    made = Fitting()
    yield made
    await made.aclose()


async def test_rows_and_labelled_rows_become_arrays_with_the_target_beside(reader, tmp_path):
    rows, few, into = tmp_path / "rows.csv", tmp_path / "few.csv", (str(tmp_path / "a"), str(tmp_path / "b"))
    rows.write_text("a,kind,b\n1,cat,2\n3,dog,\n")
    few.write_text("b,a,kind\n1,2,cat\n,4,dog\n")
    reading = Reading(into, str(few), "kind")
    sheets = await reader.sheets(rows, reading, impute=True)
    assert [(sheet.columns, sheet.target) for sheet in sheets] == [(("a", "b"), ()), (("b", "a"), ("cat", "dog"))]
    np.testing.assert_array_equal(np.load(into[0]), [[1, 2], [3, 2]])
    np.testing.assert_array_equal(np.load(into[1]), [[1, 2], [1, 4]])
    for path in map(Path, into):
        path.unlink()
    with pytest.raises(Unreadable, match="1 cells are empty, NaN or infinite, in columns b") as told:
        await reader.sheets(rows, reading)
    assert told.value.field == "file"


async def test_labelled_rows_without_others_are_read_once(reader, tmp_path):
    few, into = tmp_path / "few.csv", str(tmp_path / "a")
    few.write_text("a,kind\n1,cat\n2,dog\n")
    (sheet,) = await reader.sheets(few, Reading((into,), str(few), "kind"))
    assert (sheet.columns, sheet.target) == (("a",), ("cat", "dog"))
    np.testing.assert_array_equal(np.load(into), [[1], [2]])
    Path(into).unlink()
    with pytest.raises(Unreadable, match="there is no column sort") as told:
        await reader.sheets(few, Reading((into,), str(few), "sort"))
    assert told.value.field == "labelled"


async def test_more_rows_than_are_read_at_a_time_become_one_array(reader, tmp_path):
    values = np.arange(140_000, dtype=np.float64).reshape(-1, 2)
    np.save(tmp_path / "rows.npy", values)
    (sheet,) = await reader.sheets(tmp_path / "rows.npy", Reading((str(tmp_path / "a"), str(tmp_path / "b"))))
    assert sheet.columns == ()
    np.testing.assert_array_equal(np.load(tmp_path / "a", mmap_mode="r"), values)


async def test_no_more_is_written_than_is_asked_for_however_small_the_file_is(reader, tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({f"c{place}": np.zeros(100_000) for place in range(20)}), tmp_path / "rows.parquet")
    into = (str(tmp_path / "a"), str(tmp_path / "b"))
    (sheet,) = await reader.sheets(tmp_path / "rows.parquet", Reading(into, rows=3))
    assert np.load(into[0]).shape == (3, len(sheet.columns)) == (3, 20)
    Path(into[0]).unlink()
    Path(into[1]).unlink()
    with pytest.raises(Unreadable, match="more than 1000000 values"):
        await reader.sheets(tmp_path / "rows.parquet", Reading(into, cells=1_000_000))
    assert Path(into[0]).stat().st_size < 9 * 1_000_000


@pytest.mark.parametrize(
    ("target", "text", "said"),
    [
        ("", "a,y\n1,0\n", "which of its columns holds the labels"),
        ("y", "a,y\n" + "1,0\n" * (MAX_LABELLED + 1), f"at most {MAX_LABELLED} are taken"),
    ],
)
async def test_what_is_wrong_with_labelled_rows_is_told_of_their_field(reader, tmp_path, target, text, said):
    (tmp_path / "rows.csv").write_text("a\n1\n")
    (tmp_path / "few.csv").write_text(text)
    reading = Reading((str(tmp_path / "a"), str(tmp_path / "b")), str(tmp_path / "few.csv"), target)
    with pytest.raises(Unreadable, match=said) as told:
        await reader.sheets(tmp_path / "rows.csv", reading)
    assert told.value.field == "labelled"


@pytest.fixture
def stand_in(monkeypatch):
    """``stand_in(code)``: the process that fits runs this instead."""

    def put(code):
        async def start():
            pipe = asyncio.subprocess.PIPE
            return await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdin=pipe, stdout=pipe)

        monkeypatch.setattr(fitting, "_start", start)

    return put


async def test_a_fit_that_takes_too_long_is_ended_and_says_so(stand_in, monkeypatch, tmp_path):
    stand_in("import time; time.sleep(60)")
    monkeypatch.setattr(fitting, "SECONDS", 0.1)
    tried = Fitting()
    with pytest.raises(SpecificationError, match="takes longer"):
        await tried.specifications(tmp_path / "rows.csv", [])
    await tried.aclose()


def test_only_so_many_files_are_under_way_and_fewer_of_those_who_are_unknown():
    tried = Fitting()
    with tried.room(known=False) as take:
        for _ in range(PLACES - FOR_THE_KNOWN):
            take()
        with tried.room(known=False) as another, pytest.raises(NodeBusy):
            another()
        with tried.room(known=True) as signed_in:
            for _ in range(FOR_THE_KNOWN):
                signed_in()
            with pytest.raises(NodeBusy):
                signed_in()
    with tried.room(known=False) as take:
        take()


@pytest.mark.parametrize("code", ["import os; os.abort()", "print('nonsense')", ""])
async def test_a_process_that_breaks_is_a_fault_of_the_file(stand_in, tmp_path, code):
    stand_in(code)
    with pytest.raises(SpecificationError, match=r"memory or time|cannot be read"):
        await Fitting().specifications(tmp_path / "rows.csv", [])


async def test_one_process_is_ready_and_ends_with_the_node(stand_in):
    stand_in("import sys; sys.stdin.read()")
    tried = Fitting()
    await asyncio.gather(*(tried.prepare() for _ in range(3)))
    ready = tried._ready
    assert ready.returncode is None
    await tried.prepare()
    assert tried._ready is ready
    await tried.aclose()
    assert ready.returncode is not None
