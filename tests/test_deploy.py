"""The files of `examples/deploy`: what they name exists, and what they run brings three nodes into one federation."""

import asyncio
import configparser
import io
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tomllib
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from atoll.engine.islands import Island
from atoll.engine.packages.convert import to_onnx
from atoll.engine.packages.pack import pack
from atoll.engine.runtime import Signature
from atoll.engine.semantic import SemanticSpec
from atoll.engine.tables import Table
from atoll.node import settings
from atoll.node.api.server import ROUTES
from atoll.node.client import AsyncClient
from atoll.node.clock import now_ms
from atoll.node.config import Config, HttpSection
from atoll.protocol.listings import Offers
from atoll.protocol.succession import read_recovery
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from test_documentation import wrong

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "examples" / "deploy"
NODES = ("university", "clinic", "post")
SECONDS = 90
PATHS = {route.path for route in ROUTES}


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


@pytest.fixture
def path(tmp_path):
    """A PATH on which the command and the interpreter are those of this test."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "atoll").write_text(f'#!/bin/sh\nexec {sys.executable} -m atoll.node.cli "$@"\n')
    (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    for each in folder.iterdir():
        each.chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_the_containers_settings_are_keys_of_the_configuration(compose, tmp_path):
    image = re.findall(r"\b(ATOLL__\w+)=(\S+)", (DEPLOY / "Dockerfile").read_text())
    assert dict(image) == {"ATOLL__HTTP__HOST": "0.0.0.0"}
    for name in NODES:
        environ = {key: str(value) for key, value in compose["services"][name]["environment"].items()}
        assert settings.faults(tmp_path, {**dict(image), **environ}) == ()
        assert environ["ATOLL__P2P__ANNOUNCE"] == f"/dns4/{name}/tcp/8471"
        assert name in environ["ATOLL__HTTP__HOSTS"].split(",")


def test_the_containers_ports_volumes_and_commands_fit_each_other(compose):
    services, default = compose["services"], Config()
    port = default.http.port
    assert default.p2p.listen.endswith("/tcp/8471")
    assert f"EXPOSE {port} 8471" in (DEPLOY / "Dockerfile").read_text()
    for name in NODES:
        node, federates = services[name], services[f"{name}-federates"]
        assert node["volumes"] == [f"{name}:/data"]
        assert node["ports"][0].startswith("127.0.0.1:")
        assert node["ports"][0].endswith(f":{port}")
        assert (node["read_only"], node["cap_drop"]) == (True, ["ALL"])
        assert int(node["stop_grace_period"].removesuffix("s")) >= default.http.stop_seconds + 12
        assert federates["environment"]["ATOLL_URL"] == f"http://{name}:{port}"
        assert f"{name}:/data:ro" in federates["volumes"]
        assert federates["depends_on"][name] == {"condition": "service_healthy"}
        script, act, *_ = federates["command"]
        assert (DEPLOY / script).exists()
        assert act == ("found" if name == "university" else "join")
    assert len({services[name]["ports"][0] for name in NODES}) == 3
    assert services["university-federates"]["command"][3:] == ["clinic", "post"]
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (DEPLOY / source).exists(), volume


def test_the_image_is_not_root_has_what_the_sandbox_needs_and_tells_whether_it_is_ready():
    text = (DEPLOY / "Dockerfile").read_text()
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    assert len(stages) == 2
    for words in (
        "bubblewrap",
        "tini",
        "USER 10001",
        "VOLUME /data",
        'ENTRYPOINT ["tini", "--"]',
        "STOPSIGNAL SIGTERM",
    ):
        assert words in stages[1]
    assert "whl/cpu" in stages[0]
    assert "gcc libc6-dev libgmp-dev" in stages[0]  # there is no wheel of the fastecdsa that libp2p pins
    assert "libgmp10" in stages[1]
    assert re.search(r"127\.0\.0\.1:8470(/\w+)", text)[1] in PATHS
    assert stages[1].index("USER 10001") > stages[1].index("useradd")
    for copied in re.findall(r"examples/deploy/(\S+\.sh)", text):
        assert (DEPLOY / copied).exists()


def test_the_image_is_made_of_the_whole_package_and_of_nothing_else_that_lies_in_the_checkout():
    patterns = (DEPLOY / "Dockerfile.dockerignore").read_text().split("\n*\n")[1].split()
    let_in = {each.removeprefix("!").partition("/")[0] for each in patterns if each.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {name.split(".")[1] for name in project["tool"]["setuptools"]["packages"] if "." in name}
    files = {"__init__.py", "py.typed", "pyproject.toml", project["project"]["readme"]}
    assert let_in == folders | files | {*project["project"]["license-files"], "examples"}
    assert "!examples/deploy/*.sh" in patterns


def test_prometheus_and_grafana_find_the_nodes_and_each_other(compose):
    (job,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    assert job["metrics_path"] in PATHS
    assert job["static_configs"][0]["targets"] == [f"{name}:8470" for name in NODES]
    for name in NODES:  # Prometheus asks from elsewhere, without a token
        assert compose["services"][name]["environment"]["ATOLL__HTTP__METRICS"] == "open"
    provided = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    assert provided["datasources"][0]["url"] == "http://prometheus:9090"
    folder = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/atoll.yaml").read_text())["providers"][0]
    mounted = compose["services"]["grafana"]["volumes"][1].split(":")[1]
    assert str(Path(mounted).parent) == folder["options"]["path"]


def test_the_unit_runs_real_commands_and_leaves_the_sandbox_what_it_needs():
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(DEPLOY / "atoll.service")
    service = unit["Service"]
    assert wrong(f"atoll {service['ExecStart'].partition('/atoll ')[2]}") is None
    assert "ExecStartPre" not in service  # its exit code prevents no restart
    assert int(service["TimeoutStopSec"]) >= HttpSection().stop_seconds + 12
    assert service["RestartPreventExitStatus"] == "20 21"
    assert service["ProtectSystem"] == "strict"
    for kept_out in ("RestrictNamespaces", "SystemCallFilter", "MemoryDenyWriteExecute", "ProtectHostname"):
        assert kept_out not in service
    if shutil.which("systemd-analyze"):
        told = subprocess.run(
            ["systemd-analyze", "verify", str(DEPLOY / "atoll.service")], capture_output=True, text=True
        )
        faults = [line for line in told.stderr.splitlines() if "is not executable" not in line]
        assert not [line for line in faults if "atoll.service" in line], faults


@pytest.mark.parametrize("file", ["nginx.conf", "Caddyfile"])
def test_proxies_hold_back_no_stream_and_say_who_asks(file):
    text = (DEPLOY / file).read_text()
    assert f"127.0.0.1:{Config().http.port}" in text
    assert text.count("{") == text.count("}")
    header = r"(?:proxy_set_header|header_up) (X-Forwarded-\w+)"
    told = set(re.findall(header, text))
    assert re.search(r"(?:proxy_set_header|header_up) X-Request-ID (\$request_id;|\{http\.request\.uuid\})", text)
    if file == "nginx.conf":
        assert told == {"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"}
        for words in ("proxy_buffering off;", "proxy_request_buffering off;", "client_max_body_size 0;"):
            assert words in text
    else:  # it sends them by itself
        assert told == set()
        assert "flush_interval -1" in text


@dataclass
class Container:
    """What is one in the compose file: here a process with a home of its own, on loopback."""

    name: str
    home: Path
    url: str
    environ: dict


@asynccontextmanager
async def started(name, compose, tmp_path, path):
    """A node by `enter.sh`, with the environment of the compose file but for hosts and ports."""
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    home, peers = tmp_path / name, f"/ip4/127.0.0.1/tcp/{ports[1]}"
    home.mkdir()
    environ = {
        **{key: str(value) for key, value in compose["services"][name]["environment"].items()},
        "PATH": path, "ATOLL_HOME": str(home), "ATOLL__HTTP__PORT": str(ports[0]), "ATOLL__P2P__LISTEN": peers,
        "ATOLL__P2P__ANNOUNCE": peers.replace("/ip4/127.0.0.1", "/dns4/localhost"),
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    with (home / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(DEPLOY / "enter.sh"), env=environ, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield Container(name, home, f"http://127.0.0.1:{ports[0]}", environ)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(process.wait(), 30)
    assert code == 0, (home / "log").read_text()[-800:]


async def federates(container, compose, invites):
    """What the one-shot service of a node does."""
    script, *arguments = compose["services"][f"{container.name}-federates"]["command"]
    environ = {**container.environ, "ATOLL_URL": container.url, "INVITES": str(invites)}
    process = await asyncio.create_subprocess_exec(
        str(DEPLOY / script), *arguments, env=environ, stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    assert process.returncode == 0, err


async def ready(container):
    """As the image's check of its health."""
    async with asyncio.timeout(SECONDS):
        while not (container.home / "endpoint.json").exists():
            await asyncio.sleep(0.2)


def flowers(owner, island, *classes):
    data = load_iris()
    chosen = [label in classes for label in data.target]
    rows, labels = Table(data.data[chosen], tuple("abcd")), data.target[chosen]
    model, package = LogisticRegression(max_iter=500).fit(rows.values, labels), io.BytesIO()
    pack(
        package, to_onnx(model, 4), rows, island, SemanticSpec(f"Flowers {classes}"), Signature("classification", 4, 2),
        owner=owner, created_at=now_ms(), salt=bytes(16), class_names=tuple(map(str, classes)), size=20,
    )  # fmt: skip
    return package.getvalue(), rows


@pytest.mark.timeout(300)
async def test_three_nodes_run_by_the_scripts_are_one_federation_and_answer_one_search(compose, tmp_path, path):
    invites = tmp_path / "invites"
    invites.mkdir()
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(started(name, compose, tmp_path, path)) for name in NODES]
        await asyncio.gather(*map(ready, nodes))
        await asyncio.gather(*(federates(node, compose, invites) for node in nodes))
        await asyncio.gather(*(federates(node, compose, invites) for node in nodes[:2]))  # there is nothing to do
        assert sorted(file.name for file in invites.iterdir()) == ["clinic.joined", "post.joined"]
        firsts = [json.loads((node.home / "first.json").read_text()) for node in nodes]
        assert [set(first) & {"token", "recovery"} for first in firsts] == [{"token"}] * 3
        for node in nodes:
            assert {stat.S_IMODE((node.home / name).stat().st_mode) for name in ("first.json", "recovery")} == {0o600}
            assert read_recovery((node.home / "recovery").read_text().strip())
            assert f"delete {node.home}/recovery" in (node.home / "log").read_text()
        clients = [
            await stack.enter_async_context(AsyncClient(node.url, first["token"]))
            for node, first in zip(nodes, firsts, strict=True)
        ]
        (federation,) = await clients[0].federations()
        assert (federation.name, federation.members) == ("Islands", 3)
        island = Island.mint(Table(load_iris().data, tuple("abcd")))
        pairs = ((0, 1), (1, 2), (0, 2))
        for client, first, classes in zip(clients, firsts, pairs, strict=True):
            await client.add_island(island)
            package, rows = await asyncio.to_thread(flowers, first["peer_id"], island, *classes)
            added = await client.add_learnware(package)
            await client.publish(added.learnware_id, federation.id, Offers(disclose="members"))
        async with asyncio.timeout(SECONDS):
            while len(await clients[0].catalogue()) < 3:
                await asyncio.sleep(0.2)
        answer = await clients[0].search_rows(rows, deadline_ms=20_000)
        assert {hit.owner for hit in answer.hits} == {first["peer_id"] for first in firsts}
        assert answer.hits[0].owner == firsts[2]["peer_id"]
        assert set(answer.peers_answered) >= {first["peer_id"] for first in firsts[1:]}
        assert answer.peers_failed == {}
