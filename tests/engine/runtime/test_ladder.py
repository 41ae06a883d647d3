"""The ladder says which rung a machine has, and why it has no higher one."""

import subprocess
import sys

import pytest
from atoll.engine.runtime import ladder


@pytest.fixture(autouse=True)
def forgotten():
    """Each test probes anew."""
    ladder.rung.cache_clear()
    yield
    ladder.rung.cache_clear()


def test_without_bubblewrap_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    found = ladder.rung()
    assert found.level != "strong"
    assert found.missing == "bubblewrap is not installed"
    assert "apt install bubblewrap" in found.hint


def test_where_the_kernel_forbids_it_bubblewraps_own_words_are_passed_on(monkeypatch, tmp_path):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name: str(fake))
    found = ladder.rung()
    assert found.level != "strong"
    assert "No permissions to create new namespace" in found.missing
    assert "user namespaces" in found.hint


def test_the_rung_is_probed_once_and_names_its_layers(monkeypatch):
    found = ladder.rung()
    if found.level == "none":
        pytest.skip(found.missing)
    assert "rlimits" in found.layers
    monkeypatch.setattr(ladder, "probe", None)
    assert ladder.rung() is found


def test_elsewhere_than_on_linux_nothing_runs(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert ladder.rung().level == "none"


def test_importing_the_package_loads_no_runtime():
    loud = ("torch", "onnxruntime", "sklearn", "skops", "lightgbm", "xgboost")
    program = f"import sys, atoll.engine.runtime; print([name for name in {loud} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "[]"
