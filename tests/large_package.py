"""A package of so many MB through two nodes of one process, and by how many MB that process grew; run by itself.

    python tests/large_package.py MEGABYTES FOLDER

It is packed, uploaded, checked in the sandbox, taken in, published, downloaded by the other node, run there, and
revised, after a small one has gone the same way: what that took was needed anyway. The model is one sum of its columns
and so many MB of weights that nobody uses and nothing shrinks.
"""

import asyncio
import json
import os
import resource
import sys
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import numpy as np
from atoll.engine.islands import Island
from atoll.engine.packages.pack import pack
from atoll.engine.packages.revise import revise
from atoll.engine.runtime import Signature
from atoll.engine.semantic import SemanticSpec
from atoll.engine.tables import Table
from atoll.node import app
from atoll.node.api.server import serving
from atoll.node.cli.main import cli
from atoll.node.client import AsyncClient
from atoll.node.clock import now_ms
from atoll.protocol.listings import Listing, Offers
from click.testing import CliRunner
from onnx import TensorProto, helper

COLUMNS = ("a", "b", "c", "d")
PIECE = 1 << 20
SANDBOX = """
[sandbox]
model_bytes = 2147483648
memory_bytes = 8589934592
load_seconds = 120
call_seconds = 60
"""


def write_model(path: Path, megabytes: int) -> None:
    """ONNX in pieces: protobuf puts the fields of a second graph to those of the first."""
    node = helper.make_node("ReduceSum", ["rows"], ["out"], keepdims=1)
    inputs = [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 4])]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 1])]
    node.attribute.append(helper.make_attribute("axes", [1]))
    graph = helper.make_graph([node], "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    size = megabytes * PIECE
    tensor = TensorProto(name="unused", data_type=TensorProto.FLOAT, dims=[size // 4]).SerializeToString()
    tensor += _head(9, size)  # raw_data
    initializer = _head(5, len(tensor) + size) + tensor
    with path.open("wb") as file:
        file.write(model.SerializeToString() + _head(7, len(initializer) + size) + initializer)
        for _ in range(megabytes):
            file.write(os.urandom(PIECE))


def _head(field: int, size: int) -> bytes:
    """The tag and length of a protobuf field of bytes."""
    head = bytes([field << 3 | 2])
    while size > 127:
        head, size = head + bytes([size & 127 | 128]), size >> 7
    return head + bytes([size])


async def way(folder: Path, nodes: list[app.Node], clients: list[AsyncClient], federation: str, megabytes: int) -> None:
    """Of one package, from a file to the other node's answer, and of its revision."""
    owner, other = clients
    rows = Table(np.random.default_rng(megabytes).normal(size=(400, 4)), COLUMNS)
    island = Island.mint(rows)
    await owner.add_island(island)
    model, package, revised = (folder / f"{name}-{megabytes}" for name in ("model", "package", "revised"))
    write_model(model, megabytes)
    step("written", megabytes)
    words = SemanticSpec(f"Sums {megabytes}", "Sums.", task="Regression")
    make = partial(pack, package, model, rows, island, words, Signature("regression", 4, 1), size=20)
    await asyncio.to_thread(make, owner=nodes[0].identity.peer, created_at=now_ms(), salt=bytes(16))
    step("packed", megabytes)
    added = await owner.add_learnware(package)
    step("checked and taken in", megabytes)
    await owner.publish(added.learnware_id, federation, Offers(download="members"))
    async with asyncio.timeout(60):
        while not (found := _listings(nodes[1], words.name)) or island.id not in _islands(nodes[1]):
            await asyncio.sleep(0.1)
    async with nodes[1].downloads.using(nodes[0].identity.peer, found[0], "somebody"):
        step("downloaded", megabytes)
    answer = await other.predict_with(added.learnware_id, rows, send=True)
    assert answer.places == {added.learnware_id: "local"}
    assert np.allclose(np.array(answer.values)[:, 0], rows.values.sum(axis=1), atol=1e-4)
    step("run", megabytes)
    await asyncio.to_thread(
        partial(revise, package, revised, semantic=SemanticSpec(f"More {megabytes}", task="Regression"))
    )
    assert (await owner.add_learnware(revised)).learnware_id == added.learnware_id
    step("revised", megabytes)


def _listings(node: app.Node, name: str) -> list[Listing]:
    return [each for each in node.catalogue.alive(now_ms()) if each.semantic.name == name]


def _islands(node: app.Node) -> set[str]:
    return {island.id for island in node.catalogue.islands()}


def step(name: str, megabytes: int) -> None:
    print(f"{megabytes:5} MB {name:22} {time.monotonic():9.1f} s, at most {_most():7.1f} MB", file=sys.stderr)


def _most() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def main(megabytes: int, folder: Path) -> None:
    nodes, clients = [], []
    async with AsyncExitStack() as stack:
        for name in ("owner", "other"):
            options = ["--http-port", "0", "--listen", "/ip4/127.0.0.1/tcp/0", "--json"]
            made = CliRunner().invoke(cli, ["init", "--home", str(folder / name), "--name", name, *options])
            with (folder / name / "atoll.toml").open("a") as file:
                file.write(SANDBOX)
            nodes.append(await stack.enter_async_context(app.running(folder / name)))
            url = await stack.enter_async_context(serving(nodes[-1]))
            clients.append(await stack.enter_async_context(AsyncClient(url, json.loads(made.output)["token"])))
        federation = (await clients[0].create_federation("large")).id
        await clients[1].join((await clients[0].invite(federation)).invite)
        await way(folder, nodes, clients, federation, 1)
        before = _most()
        await way(folder, nodes, clients, federation, megabytes)
        print(json.dumps({"before": before, "grown": _most() - before}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
