"""A node's home: configuration errors that help, ports in use, one node a home."""

import json
import socket

import pytest
from atoll.node import config
from atoll.node.app import running
from atoll.node.cli.main import cli
from atoll.node.errors import AddressTaken, ConfigError, HomeMissing
from atoll.node.p2p.errors import AddressInUse
from click.testing import CliRunner


def test_an_unknown_key_names_the_nearest_one(tmp_path):
    (tmp_path / "atoll.toml").write_text("[http]\nprot = 1\n")
    with pytest.raises(ConfigError, match="prot") as error:
        config.load(tmp_path, {})
    assert "port" in error.value.hint


def test_the_environment_overrides_the_file(tmp_path):
    (tmp_path / "atoll.toml").write_text("[http]\nport = 1\n")
    loaded = config.load(tmp_path, {"ATOLL__HTTP__PORT": "2", "ATOLL__P2P__BOOTSTRAP": "/a,/b"})
    assert (loaded.http.port, loaded.p2p.bootstrap) == (2, ("/a", "/b"))


@pytest.mark.parametrize("environ", [{"ATOLL__HTTP__PRT": "1"}, {"ATOLL__HTP__PORT": "1"}, {"ATOLL__HTTP__PORT": "x"}])
def test_wrong_overrides_are_errors(tmp_path, environ):
    with pytest.raises(ConfigError):
        config.load(tmp_path, environ)


async def test_a_folder_that_is_no_home_says_what_to_do(tmp_path):
    with pytest.raises(HomeMissing) as error:
        async with running(tmp_path):
            pass
    assert "atoll init" in error.value.hint


def test_a_home_is_initialised_once(make_home):
    home, _ = make_home("node")
    result = CliRunner().invoke(cli, ["init", "--home", str(home)])
    assert isinstance(result.exception, ConfigError)
    assert oct((home / "identity.key").stat().st_mode)[-3:] == "600"


async def test_two_nodes_cannot_share_a_home(make_home, start_home):
    home, token = make_home("node")
    async with start_home(home, token):
        with pytest.raises(ConfigError, match="another node"):
            async with running(home):
                pass


async def test_an_http_port_in_use_is_one_clear_error(make_home, start_home, monkeypatch):
    home, token = make_home("node")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("ATOLL__HTTP__PORT", str(taken.getsockname()[1]))
        with pytest.raises(AddressTaken) as error:
            async with start_home(home, token):
                pass
    assert "http.port" in error.value.hint


async def test_a_peer_port_in_use_is_one_clear_error(make_home, start_home, monkeypatch):
    home, token = make_home("node")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("ATOLL__P2P__LISTEN", f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}")
        with pytest.raises(AddressInUse):
            async with start_home(home, token):
                pass
    monkeypatch.delenv("ATOLL__P2P__LISTEN")
    async with start_home(home, token) as again:
        assert (await again.client.node()).peer_id == again.node.identity.peer


def test_config_show_prints_every_key(make_home):
    home, _ = make_home("node")
    result = CliRunner().invoke(cli, ["config", "show", "--home", str(home), "--json"])
    assert json.loads(result.output)["node"]["name"] == "node"
