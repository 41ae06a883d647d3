"""Real nodes for tests: own home, key, LMDB store, libp2p host on loopback and HTTP server, in this process."""

import asyncio
import io
import json
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from atoll.engine.islands import Island
from atoll.engine.packages.convert import to_onnx
from atoll.engine.packages.pack import pack
from atoll.engine.runtime import Signature
from atoll.engine.semantic import SemanticSpec
from atoll.engine.tables import Table
from atoll.node.api.server import serving
from atoll.node.app import Node, running
from atoll.node.cli.main import cli
from atoll.node.cli.output import console
from atoll.node.client import AsyncClient
from atoll.node.clock import now_ms
from atoll.node.demo.processes import institution
from atoll.protocol.listings import Offers
from blockbuster import blockbuster_ctx
from click.testing import CliRunner
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

PIXELS = tuple(f"pixel_{place:02d}" for place in range(64))


@dataclass(frozen=True)
class RunningNode:
    node: Node
    url: str
    token: str
    client: AsyncClient


@pytest.fixture(autouse=True)
def width_of_the_environment(monkeypatch):
    """Tables in a terminal are as wide as a test says by COLUMNS, whatever its process was started with."""
    monkeypatch.setattr(console, "_width", None)


@pytest.fixture
def make_home(tmp_path: Path) -> Callable[[str], tuple[Path, str]]:
    """Make a home with ``atoll init``; returns it with the admin token."""

    def make(name: str) -> tuple[Path, str]:
        home = tmp_path / name
        arguments = ["init", "--home", str(home), "--name", name, "--http-port", "0"]
        result = CliRunner().invoke(cli, [*arguments, "--listen", "/ip4/127.0.0.1/tcp/0", "--json"])
        assert result.exit_code == 0, result.output
        return home, json.loads(result.output)["token"]

    return make


@asynccontextmanager
async def run_home(home: Path, token: str) -> AsyncIterator[RunningNode]:
    async with running(home) as node, serving(node) as url, AsyncClient(url, token) as client:
        yield RunningNode(node, url, token, client)


@pytest.fixture
def start_home() -> Callable[[Path, str], object]:
    return run_home


@pytest.fixture
async def start(make_home) -> AsyncIterator[Callable[..., Awaitable[list[RunningNode]]]]:
    """``await start("a", "b", ...)`` starts that many nodes; they end with the test."""
    async with AsyncExitStack() as stack:

        async def start_all(*names: str) -> list[RunningNode]:
            return [await stack.enter_async_context(run_home(*make_home(name))) for name in names]

        yield start_all


@pytest.fixture
async def federated(start) -> Callable[..., Awaitable[tuple[list[RunningNode], str]]]:
    """``await federated("a", "b", ...)`` starts nodes in one private federation; returns them and its id."""

    async def found(*names: str) -> tuple[list[RunningNode], str]:
        nodes = await start(*names)
        admin, *others = nodes
        federation = (await admin.client.create_federation("test")).id
        for other in others:
            await other.client.join((await admin.client.invite(federation)).invite)
        return nodes, federation

    return found


@dataclass(frozen=True)
class Digits:
    values: np.ndarray
    labels: np.ndarray

    def of(self, *classes: int) -> Table:
        return Table(self.values[np.isin(self.labels, classes)], PIXELS)

    def labels_of(self, *classes: int) -> np.ndarray:
        return self.labels[np.isin(self.labels, classes)]

    def island(self) -> Island:
        return Island.mint(Table(self.values, PIXELS))

    def package(
        self, owner: str, island: Island, *classes: int, salt: bytes = bytes(16), budget=None, semantic=None
    ) -> bytes:
        rows, labels = self.of(*classes), self.labels_of(*classes)
        model = LogisticRegression(max_iter=3000).fit(rows.values, labels)
        names = tuple(str(label) for label in model.classes_)
        package = io.BytesIO()
        pack(
            package, to_onnx(model, 64), rows, island, semantic or SemanticSpec(f"Digits {' '.join(names)}"),
            Signature("classification", 64, len(names)), owner=owner, created_at=now_ms(), salt=salt,
            class_names=names, size=40, budget=budget,
        )  # fmt: skip
        return package.getvalue()


@pytest.fixture(scope="session")
def digits() -> Digits:
    return Digits(*load_digits(return_X_y=True))


@pytest.fixture
def publish(digits: Digits):
    """Publish a digits learnware at a node: ``await publish(node, federation, offers, 0, 1)`` -> learnware id."""

    async def publish_one(running: RunningNode, federation: str, offers, *classes: int, semantic=None) -> str:
        island = digits.island()
        await running.client.add_island(island)
        package = digits.package(running.node.identity.peer, island, *classes, semantic=semantic)
        learnware = await running.client.add_learnware(package)
        await running.client.publish(learnware.learnware_id, federation, offers)
        return learnware.learnware_id

    return publish_one


@pytest.fixture
async def processes(tmp_path: Path, digits: Digits):
    """``await processes({"a": (0, 1), "b": (2, 3)})``: nodes as processes in one federation, each of which lists a
    learnware of these digits; the first knows all of them. They end with the test."""
    async with AsyncExitStack() as stack:

        async def start_all(classes: dict[str, tuple[int, ...]], settings: dict[str, str] | None = None):
            contexts = [institution(name, tmp_path / name, settings=settings or {}) for name in classes]
            nodes = await asyncio.gather(*(stack.enter_async_context(context) for context in contexts))
            federation = (await nodes[0].client.create_federation("test")).id
            for node in nodes[1:]:
                await node.client.join((await nodes[0].client.invite(federation)).invite)
            island = digits.island()
            for node in nodes:
                await node.client.add_island(island)
                package = digits.package(node.endpoint.peer_id, island, *classes[node.name])
                learnware = await node.client.add_learnware(package)
                await node.client.publish(learnware.learnware_id, federation, Offers(disclose="members"))
            async with asyncio.timeout(30):
                while len(await nodes[0].client.catalogue()) < len(nodes):
                    await asyncio.sleep(0.05)  # the nodes are other processes: there is no event to wait for
            return nodes

        yield start_all


@pytest.fixture
def changed():
    """``await changed(node, condition)`` waits until a condition on the node's catalogue holds, by its events."""
    return _waiting(lambda node: node.catalogue)


@pytest.fixture
def until():
    """``await until(node, condition)`` waits until a condition on the node's peers holds, by their events."""
    return _waiting(lambda node: node.peers)


def _waiting(part: Callable[[Node], object]):
    """Wait by the events of a part of a node."""

    async def wait(running: RunningNode, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        part(running.node).on_change(lambda *_: loop.call_soon_threadsafe(event.set))
        async with asyncio.timeout(seconds):
            while not condition():
                await event.wait()
                event.clear()

    return wait


@pytest.fixture
def held(monkeypatch):
    """``held(node)`` holds up the node's matching until the event that it returns is set."""
    events = []

    def hold(running):
        let, gate, may = threading.Event(), running.node.gate, running.node.gate.may
        events.append(let)

        def late(*arguments):
            let.wait(30)
            return may(*arguments)

        monkeypatch.setattr(gate, "may", late)
        return let

    yield hold
    for event in events:
        event.set()


@pytest.fixture
def received(monkeypatch):
    """What each node has received, decrypted, on all streams and topics: {peer id: bytes}."""
    from atoll.node.p2p.host import SteadyYamux

    bytes_of = defaultdict(bytearray)
    read = SteadyYamux._read_data_body

    async def recorded(self, length):
        body = await read(self, length)
        bytes_of[str(self.secured_conn.local_peer)] += body
        return body

    monkeypatch.setattr(SteadyYamux, "_read_data_body", recorded)
    return bytes_of


@pytest.fixture(autouse=True)
def blocking_calls():
    """A call of ours that blocks the event loop is an error (file, lock, socket, subprocess)."""
    with blockbuster_ctx(["atoll.node.api", "atoll.node.web"]) as guard:
        yield guard
