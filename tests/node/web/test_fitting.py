"""Files of strangers are read by a process that may do nothing else, for a time, a few at once."""

import asyncio
import json
import subprocess
import sys

import pytest
from atoll.engine.errors import SpecificationError
from atoll.node.errors import NodeBusy
from atoll.node.web import fitting
from atoll.node.web.fitting import FOR_THE_KNOWN, PLACES, Fitting

TRY = """
import json, socket, sys
from pathlib import Path
from atoll.engine.runtime import kernel
from atoll.node.web.fitter import confine

file, other = Path(sys.argv[1]), Path(sys.argv[2])

def attempt(act):
    try:
        act()
    except (OSError, MemoryError) as error:
        return type(error).__name__
    return "done"

confine(file)
print(json.dumps({
    "landlock": kernel.read_only_beneath([str(file)]),
    "own": attempt(file.read_bytes),
    "other": attempt(other.read_bytes),
    "write": attempt(lambda: file.with_name("new").write_bytes(b"x")),
    "memory": attempt(lambda: bytearray(6 << 30)),
}))
"""


def test_the_process_reads_its_file_and_nothing_else(tmp_path):
    (tmp_path / "own").mkdir()
    own, other = tmp_path / "own" / "rows.csv", tmp_path / "other.csv"
    for path in (own, other):
        path.write_text("a\n1\n")
    said = subprocess.run([sys.executable, "-P", "-c", TRY, own, other], capture_output=True, check=True).stdout
    found = json.loads(said)
    assert (found["own"], found["memory"]) == ("done", "MemoryError")
    if not found["landlock"]:
        pytest.skip("this kernel has no Landlock")
    assert (found["other"], found["write"]) == ("PermissionError", "PermissionError")


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
