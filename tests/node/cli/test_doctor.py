"""What `atoll doctor` says: of a home, of none, of a damaged one, of a node at work, and of a poor machine."""

import asyncio
import json
import resource
import shutil
import socket
from collections import namedtuple

import certificates
import lmdb
import pytest
from atoll.engine.runtime import Rung
from atoll.node.checkup import machine
from atoll.node.checkup import store as checks
from atoll.node.checkup.connections import leads_nowhere
from atoll.node.cli.main import cli
from atoll.node.store.environment import SCHEMA
from click.testing import CliRunner

Usage = namedtuple("Usage", "total used free")


def doctor(home):
    result = CliRunner().invoke(cli, ["doctor", "--home", str(home), "--json"])
    assert result.exit_code in (0, 20), result.exception
    return result.exit_code, {each["what"]: each for each in json.loads(result.output)}


def configured(home, text):
    (home / "atoll.toml").write_text(text)


@pytest.fixture
def home(make_home):
    return make_home("node")[0]


def test_a_home_is_fine_and_its_node_need_not_run(home):
    code, found = doctor(home)
    for what in ("version", "home", "configuration", "store", "disk", "http port", "p2p port", "clock"):
        assert found[what]["state"] == "fine", found[what]
    assert (code, found["node"]["state"], found["node"]["todo"]) == (0, "look", "start it with `atoll serve`")
    assert found["store"]["words"].startswith(f"schema {SCHEMA}, ")
    assert found["federations"]["words"] == "in none"


def test_people_read_a_line_for_each_finding_and_what_to_do(home):
    result = CliRunner().invoke(cli, ["doctor", "--home", str(home)])
    assert "fine  home: " in result.output
    assert "look  node: none runs here" in result.output
    assert "\n      → start it with `atoll serve`\n" in result.output


def test_no_home_is_bad_and_said_what_to_do_about(tmp_path):
    code, found = doctor(tmp_path / "none")
    assert (code, found["home"]["state"]) == (20, "bad")
    assert "atoll init" in found["home"]["todo"]
    assert "store" not in found


def test_a_key_that_others_may_read_is_bad(home):
    (home / "identity.key").chmod(0o640)
    code, found = doctor(home)
    assert (code, found["key"]["state"], found["key"]["todo"]) == (20, "bad", f"chmod 600 {home / 'identity.key'}")


def test_a_home_that_others_may_write_into_is_bad(home):
    home.chmod(0o777)
    code, found = doctor(home)
    assert (code, found["home"]["todo"]) == (20, f"chmod 700 {home}")


def test_a_wrong_configuration_is_named_and_what_does_not_need_it_is_looked_at(home):
    configured(home, "[http]\nprot = 1\nport = true\n")
    code, found = doctor(home)
    assert (code, found["configuration"]["state"], found["store"]["state"]) == (20, "bad", "fine")
    assert "line 2: [http] unknown key 'prot'; 1 more" in found["configuration"]["words"]


@pytest.mark.parametrize("damage", ["cut", "scrambled", "empty"])
def test_a_damaged_store_ends_no_check_up(home, damage):
    data = home / "store" / "data.mdb"
    raw = data.read_bytes()
    pages = bytes(len(raw) - 8192)
    data.write_bytes({"cut": raw[:8192], "scrambled": raw[:8192] + b"\xff" * len(pages), "empty": b""}[damage])
    code, found = doctor(home)
    assert (code, found["store"]["state"]) == (20, "bad")
    assert "atoll restore" in found["store"]["todo"]
    assert found["sandbox"]


def test_a_newer_store_is_bad_and_an_unclean_end_is_said(home):
    (home / "running").write_text("1\n")
    code, found = doctor(home)
    assert (code, found["store"]["state"]) == (0, "look")
    assert "was killed" in found["store"]["words"]
    with lmdb.open(str(home / "store"), max_dbs=40) as env, env.begin(write=True) as txn:
        txn.put(b"schema", b"999", db=env.open_db(b"meta", txn=txn))
    code, found = doctor(home)
    assert (code, found["store"]["state"]) == (20, "bad")
    assert "run the newer Atoll" in found["store"]["todo"]


def test_a_port_that_another_program_has_is_bad(home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        configured(home, f'[http]\nport = {taken.getsockname()[1]}\n[p2p]\nlisten = "/ip4/127.0.0.1/tcp/0"\n')
        code, found = doctor(home)
    assert (code, found["http port"]["state"], found["p2p port"]["state"]) == (20, "bad", "fine")
    assert "set http.port" in found["http port"]["todo"]


@pytest.mark.parametrize(("days", "state"), [(-1, "bad"), (10, "look"), (90, "fine")])
def test_a_certificate_is_looked_at_before_it_ends(home, days, state):
    certificates.write(home, "node", days)
    configured(home, '[http]\ntls_certificate = "node.pem"\ntls_key = "node.key"\n')
    _, found = doctor(home)
    assert found["TLS"]["state"] == state
    assert "CN=localhost" in found["TLS"]["words"]


def test_tokens_in_the_clear_are_looked_at(home):
    configured(home, '[http]\nhost = "0.0.0.0"\n')
    assert "in the clear" in doctor(home)[1]["TLS"]["words"]


def test_a_poor_machine_is_described(home, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(1, 1, 1 << 20))
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 4096))
    monkeypatch.setattr(machine, "EXTRAS", {"no_such_module": "text"})
    code, found = doctor(home)
    assert (code, found["disk"]["state"], found["file descriptors"]["state"]) == (20, "bad", "look")
    assert "1 MiB free" in found["disk"]["words"]
    assert "ulimit -n 4096" in found["file descriptors"]["todo"]
    assert found["optional libraries"]["todo"] == "pip install 'atoll[text]' where needed"


def test_what_is_missing_for_a_strong_sandbox_is_named(home, monkeypatch, tmp_path):
    held = Rung("limited", ("rlimits",), "bubblewrap is not installed", "apt install bubblewrap")
    monkeypatch.setattr("atoll.engine.runtime.rung", lambda: held)
    monkeypatch.setattr(machine, "PROC", tmp_path)
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "max_user_namespaces").write_text("0\n")
    code, found = doctor(home)
    assert (code, found["sandbox"]["state"]) == (0, "look")
    assert "apt install bubblewrap" in found["sandbox"]["todo"]
    assert "sysctl -w user.max_user_namespaces=15000" in found["sandbox"]["todo"]


def test_a_clock_behind_the_store_is_bad(home, monkeypatch):
    monkeypatch.setattr(checks, "now_ms", lambda: checks.WRONG_BEFORE - 3_600_000)
    code, found = doctor(home)
    assert (code, found["clock"]["state"]) == (20, "bad")
    assert "by NTP" in found["clock"]["todo"]


async def test_a_node_at_work_tells_of_peers_federations_and_clocks(federated, monkeypatch):
    (one, two), _ = await federated("one", "two")
    monkeypatch.setenv("ATOLL_URL", one.url)
    monkeypatch.setenv("ATOLL_TOKEN", one.token)
    code, found = await asyncio.to_thread(doctor, one.node.home)
    assert code == 0
    assert found["node"]["words"] == f"'one' serves {one.url}"
    assert "the node has it open" in found["store"]["words"]
    assert found["peers"]["words"] == "connected members: 1, of 1 known peers"
    assert found["federation 'test'"]["words"] == "a member for 90 more days"
    assert (found["clock"]["state"], "1 peers are ahead" in found["clock"]["words"]) == ("fine", True)
    one.node.peers.timed(two.node.identity.peer, 3_600_000)
    code, found = await asyncio.to_thread(doctor, one.node.home)
    assert (code, found["clock"]["state"]) == (20, "bad")


async def test_without_a_token_federations_are_read_from_the_store_and_bootstrap_is_asked_about(federated, monkeypatch):
    (one, two), _ = await federated("one", "two")
    monkeypatch.setenv("ATOLL_URL", one.url)
    _, found = await asyncio.to_thread(doctor, one.node.home)
    assert "set $ATOLL_TOKEN" in found["peers"]["todo"]
    assert found["federation 'test'"]["state"] == "fine"
    there, gone = two.node.network.addresses[0], f"/ip4/127.0.0.1/tcp/9/p2p/{'1' * 3}"
    monkeypatch.setenv("ATOLL_TOKEN", one.token)
    monkeypatch.setenv("ATOLL__P2P__BOOTSTRAP", there)
    _, found = await asyncio.to_thread(doctor, one.node.home)
    assert found["bootstrap"]["words"] == "two answers"
    monkeypatch.setenv("ATOLL__P2P__BOOTSTRAP", gone)
    _, found = await asyncio.to_thread(doctor, one.node.home)
    assert (found["bootstrap"]["state"], "does not answer" in found["bootstrap"]["words"]) == ("look", True)


async def test_another_node_at_the_address_is_no_node_of_this_home(start, make_home, monkeypatch):
    (running,) = await start("other")
    monkeypatch.setenv("ATOLL_URL", running.url)
    home, _ = make_home("node")
    _, found = await asyncio.to_thread(doctor, home)
    assert (found["node"]["state"], "another node" in found["node"]["words"]) == ("look", True)


def test_one_address_that_may_lead_here_is_enough():
    near, far = "/ip4/127.0.0.1/tcp/4001", "/ip4/203.0.113.7/tcp/4001"
    assert "127.0.0.1:4001" in leads_nowhere((near, "/dns4/localhost/tcp/1"))
    for told in ((near, far), (far,), (), ("/ip4/203.0.113.7/udp/1/quic-v1",)):
        assert leads_nowhere(told) == ""


def test_what_peers_are_told_is_judged(home):
    configured(home, '[p2p]\nlisten = "/ip4/127.0.0.1/tcp/0"\n')
    assert "leads nowhere from elsewhere" in doctor(home)[1]["addresses"]["words"]
    configured(home, '[p2p]\nlisten = ""\n')
    assert doctor(home)[1]["addresses"]["state"] == "look"
    configured(home, '[p2p]\nannounce = ["/dns4/localhost/tcp/4001"]\n')
    assert "leads nowhere from elsewhere" in doctor(home)[1]["addresses"]["words"]
    configured(home, '[p2p]\nannounce = ["/dns4/atoll.example.org/tcp/4001"]\n')
    assert doctor(home)[1]["addresses"]["state"] == "fine"
