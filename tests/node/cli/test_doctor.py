"""What `atoll doctor` says of a home, of none, and of a machine without bubblewrap."""

import json

from atoll.engine.runtime import Rung
from atoll.node.cli.main import cli
from click.testing import CliRunner


def doctor(home):
    result = CliRunner().invoke(cli, ["doctor", "--home", str(home), "--json"])
    return result.exit_code, {each["what"]: each for each in json.loads(result.output)}


def test_a_home_is_fine_and_its_node_need_not_run(make_home):
    home, _ = make_home("node")
    code, found = doctor(home)
    assert (code, found["home"]["state"], found["configuration"]["state"]) == (0, "fine", "fine")
    assert found["node"]["state"] == "look"


def test_no_home_is_bad_and_said_what_to_do_about(tmp_path):
    code, found = doctor(tmp_path / "none")
    assert (code, found["home"]["state"]) == (20, "bad")
    assert "atoll init" in found["home"]["words"]


def test_what_is_missing_for_a_strong_sandbox_is_named(make_home, monkeypatch):
    held = Rung("limited", ("rlimits",), "bubblewrap is not installed", "apt install bubblewrap")
    monkeypatch.setattr("atoll.engine.runtime.rung", lambda: held)
    code, found = doctor(make_home("node")[0])
    assert (code, found["sandbox"]["state"]) == (0, "look")
    assert "apt install bubblewrap" in found["sandbox"]["words"]
