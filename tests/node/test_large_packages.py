"""A package is never whole in memory, wherever it goes: what is held at a time does not grow with the model."""

import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import large_package
import numpy as np
import pytest
from atoll.engine.errors import PackageError
from atoll.engine.islands import Island
from atoll.engine.packages import open_package
from atoll.engine.packages.archive import LIMIT, MODEL_LIMIT
from atoll.engine.packages.pack import pack
from atoll.engine.packages.revise import revise
from atoll.engine.runtime import ModelPool
from atoll.engine.runtime.signature import Limits, Signature
from atoll.engine.semantic import SemanticSpec
from atoll.node.acceptance.judge import judge
from atoll.node.acceptance.uploads import Uploads
from atoll.node.client import AsyncClient
from atoll.node.store.blobs import BlobStore
from atoll.node.store.dock import Dock
from atoll.node.store.environment import Store

MB = 1 << 20
MODEL, HELD = 48 * MB, 8 * MB
WORDS = SemanticSpec("Numbers", task="Regression")
ROWS = np.random.default_rng(0).normal(size=(400, 4))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder with a model of 48 MB and its package, the island, and how much packing held."""
    folder = tmp_path_factory.mktemp("large")
    large_package.write_model(folder / "model", MODEL // MB)
    island = Island.mint(ROWS)
    with held() as most:
        packed(folder / "package", folder / "model", island)
    return folder, island, most[0]


def packed(target, model, island):
    pack(
        target, model, ROWS, island, WORDS, Signature("regression", 4, 1), owner="owner", created_at=1, salt=bytes(16),
        size=10,
    )  # fmt: skip


@contextmanager
def held():
    """The most bytes that Python held at a time within the block."""
    most = []
    tracemalloc.start()
    try:
        yield most
        most.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


def test_packing_and_revising_copy_the_model_piece_by_piece(made):
    folder, _, most = made
    assert most < HELD
    with held() as most:
        revise(folder / "package", folder / "revised", semantic=SemanticSpec("More", task="Regression"))
    assert most[0] < HELD
    with open_package(folder / "revised") as package:
        assert package.verify("model.onnx") > MODEL


def test_a_dock_takes_in_and_serves_piece_by_piece(made, tmp_path):
    folder, _, _ = made
    blobs, store = BlobStore(tmp_path / "blobs"), Store(tmp_path / "store")
    uploads, dock = Uploads(blobs, 1 << 31), Dock(store, blobs, "owner")
    with closing(store), held() as most:
        with (folder / "package").open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            file.seek(0)
            for piece in iter(partial(file.read, MB), b""):
                uploads.append(digest, uploads.received(digest), piece)
        uploads.finish(digest, b"12345678")
        learnware = dock.add(uploads.submitted(b"12345678"))
        with open_package(dock.served_path(learnware), specifications=False) as served:
            again = blobs.put_pieces(served.pieces("model.onnx"))
    assert most[0] < HELD
    assert again == learnware.row.model
    assert dock.model_path(learnware).read_bytes() == (folder / "model").read_bytes()
    uploads.forget(b"12345678")
    assert list((tmp_path / "blobs" / "partial").iterdir()) == []


def test_a_check_hands_the_model_to_the_sandbox_piece_by_piece(made):
    folder, island, _ = made
    with closing(ModelPool(1, Limits(load_seconds=60, call_seconds=60))) as models, held() as most:
        report = judge(folder / "package", {island.id: island}, models, owner="owner")
    assert report.accepted, report.words
    assert most[0] < HELD


def test_what_goes_wrong_on_the_way_leaves_no_blob(tmp_path):
    def broken():
        yield b"the beginning"
        raise PackageError("and no end")

    blobs = BlobStore(tmp_path)
    with pytest.raises(PackageError):
        blobs.put_pieces(broken())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_one_byte_over_the_limit_is_refused_before_it_is_packed_read_or_sent(tmp_path):
    path = tmp_path / "sparse"
    for act, limit in ((packed, MODEL_LIMIT), (open_package, LIMIT)):
        with path.open("wb") as file:
            file.truncate(limit + 1)
        arguments = (tmp_path / "package", path, Island.mint(ROWS)) if act is packed else (path,)
        with pytest.raises(PackageError, match=f"{limit + 1} bytes, where at most {limit} are allowed"):
            act(*arguments)
    async with AsyncClient("http://127.0.0.1:1", "token") as client:
        with pytest.raises(PackageError, match=f"at most {LIMIT} are allowed"):
            await client.submit(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_nodes_pass_on_a_package_of_300_mb_in_less_than_100(tmp_path):
    environment = os.environ | {
        "TMPDIR": str(tmp_path),
        "MALLOC_ARENA_MAX": "1",
    }  # else each thread keeps what it freed
    command = [sys.executable, str(Path(large_package.__file__)), "300", str(tmp_path)]
    child = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    assert json.loads(child.stdout)["grown"] < 100, child.stderr
