"""The attack corpus: every attack is contained, at the strong rung by the layer that is named, and below it too."""

import os
import platform
import socket
import subprocess
import sys

import numpy as np
import pytest
from atoll.engine.runtime import Limits, Sandbox, ladder, rung
from attacks import code, files
from attacks.outcomes import ROW, ROWS, outcome

LIMITS = Limits(load_seconds=30, call_seconds=1.0, memory_bytes=512 << 20)
RUNGS = ("strong", "limited")
HELD = ("seccomp", "landlock", "rlimits", "privileges")


@pytest.fixture(scope="module", params=RUNGS)
def sandbox(request):
    os.environ["ATOLL_TEST_SECRET"] = "value"
    found = rung() if request.param == "strong" else ladder.lower("for the test", "")
    if found.level != request.param:
        pytest.skip(f"this machine has no {request.param} rung: {found.missing}")
    box = Sandbox(LIMITS, found)
    yield box, found
    box.close()
    del os.environ["ATOLL_TEST_SECRET"]


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    """What an attacker is after: a key, a place to write to, sockets that nobody must reach, somebody's process."""
    folder = tmp_path_factory.mktemp("home")
    secret = folder / "id_ed25519"
    secret.write_text("a key")
    victim = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    abstract = socket.socket(socket.AF_UNIX)
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix, abstract:
        unix.bind(str(folder / "s"))
        abstract.bind("\0atoll-attack")
        unix.listen()
        abstract.listen()
        yield {
            "secret": str(secret), "outside": str(folder / "written"), "unix": str(folder / "s"),
            "port": tcp.getsockname()[1], "victim": victim.pid,
        }  # fmt: skip
        for listener in (tcp, unix, abstract):
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener.accept()
    assert victim.poll() is None
    victim.communicate(b"\n")
    assert secret.read_text() == "a key"
    assert sorted(path.name for path in folder.iterdir()) == ["id_ed25519", "s"]


@pytest.mark.parametrize("name", code.STOPPED)
def test_a_worker_that_was_taken_over_reaches_nothing(sandbox, targets, tmp_path, name):
    box, found = sandbox
    _, strong, layer, limited = code.STOPPED[name]
    expected = strong if found.level == "strong" else limited
    if layer in HELD and layer not in found.layers:
        pytest.skip(f"this kernel has no {layer}")
    if "call(" in code.STOPPED[name][0] and platform.machine() != "x86_64":
        pytest.skip("system calls by their numbers on x86_64")
    path = tmp_path / "model"
    path.write_bytes(code.source(name, **targets))
    seen, words = outcome(box, path, trust="own")
    assert seen in expected.split("|"), words
    assert all(character.isprintable() for character in words)


@pytest.mark.parametrize("name", files.FILES)
def test_a_hostile_file_is_refused_or_stopped(sandbox, tmp_path, name):
    box, found = sandbox
    data, expected, _ = files.FILES[name]
    if found.level != "strong" and "ONNX" not in name:
        expected = "ModelRefused"
    path = tmp_path / "model"
    path.write_bytes(data)
    seen, words = outcome(box, path, trust="foreign")
    assert seen == expected, words


def test_after_all_attacks_the_sandbox_still_works(sandbox, tmp_path):
    box, _ = sandbox
    path = tmp_path / "model"
    path.write_bytes(files.identity())
    with box.start(path, ROW) as worker:
        assert np.array_equal(worker.predict(ROWS), ROWS)
    assert all(parent.alive for parent in box._parents.values())
