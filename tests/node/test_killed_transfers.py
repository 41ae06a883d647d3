"""Processes of nodes are killed (-9) in the middle of what they do for others: nothing starts over, nothing hangs."""

import asyncio
import time
from contextlib import AsyncExitStack
from functools import partial

import large_package
import numpy as np
import pytest
from atoll.engine.errors import AtollError
from atoll.engine.islands import Island
from atoll.engine.packages import open_package
from atoll.engine.packages.pack import pack
from atoll.engine.runtime import Signature
from atoll.engine.semantic import SemanticSpec
from atoll.engine.tables import Table
from atoll.node.clock import now_ms
from atoll.node.demo.processes import institution
from atoll.protocol.listings import Offers

MB = 1 << 20
BOTH = Offers(predict="members", download="members")


@pytest.fixture
def rows():
    return Table(np.random.default_rng(0).normal(size=(400, 4)), large_package.COLUMNS)


async def published(owner, rows, folder, megabytes):
    """The id of a learnware that sums its columns, and the size of its package."""
    island = Island.mint(rows)
    await owner.client.add_island(island)
    large_package.write_model(folder / "model", megabytes)
    make = partial(
        pack, folder / "package", folder / "model", rows, island, SemanticSpec("Sums", task="Regression"),
        Signature("regression", 4, 1), size=20, owner=owner.endpoint.peer_id, created_at=now_ms(), salt=bytes(16),
    )  # fmt: skip
    await asyncio.to_thread(make)
    added = await owner.client.add_learnware(folder / "package")
    return added.learnware_id


async def joined(owner, other):
    federation = (await owner.client.create_federation("test")).id
    await other.client.join((await owner.client.invite(federation)).invite)
    return federation


async def known(node, learnware_id):
    """Other processes: there is no event to wait for."""
    async with asyncio.timeout(30):
        while learnware_id not in {each.learnware_id for each in await node.client.catalogue()}:
            await asyncio.sleep(0.05)


async def connected(node, peer):
    async with asyncio.timeout(60):
        while (peer, "member") not in {(each.peer_id, each.state) for each in await node.client.peers()}:
            await asyncio.sleep(0.05)


async def killed_at(process, client, learnware_id, folder, size):
    """Fetch until so many bytes are at the node, and kill a process there; where it began, and where it stood."""
    seen = []

    def progress(_, where, done, whole):
        if where == "node":
            seen.append(done)
            if done >= size and process.returncode is None:
                process.kill()

    with pytest.raises(AtollError):
        await client.fetch([learnware_id], folder=folder, progress=progress)
    await process.wait()
    return seen[0], seen[-1]


async def test_a_download_goes_on_after_either_side_was_killed(tmp_path, rows):
    async with AsyncExitStack() as stack:
        owner, other = await asyncio.gather(
            *(stack.enter_async_context(institution(name, tmp_path / name)) for name in ("owner", "other"))
        )
        federation = await joined(owner, other)
        learnware = await published(owner, rows, tmp_path, 40)
        await owner.client.publish(learnware, federation, BOTH)
        await known(other, learnware)
        fetch = partial(killed_at, learnware_id=learnware, folder=tmp_path / "out")
        first, stood = await fetch(owner.process, other.client, size=8 * MB)
        assert first <= 2 * MB
        assert 8 * MB <= stood < 30 * MB
        owner = await stack.enter_async_context(institution("owner", tmp_path / "owner", token=owner.token))
        await connected(other, owner.endpoint.peer_id)
        again, further = await fetch(other.process, other.client, size=stood + 8 * MB)
        assert stood < again < stood + 3 * MB
        other = await stack.enter_async_context(institution("other", tmp_path / "other", token=other.token))
        await connected(other, owner.endpoint.peer_id)
        seen = []
        fetched = await other.client.fetch(
            [learnware], folder=tmp_path / "out", progress=lambda _, where, done, size: seen.append((where, done))
        )
        assert further < next(done for where, done in seen if where == "node") < further + 3 * MB
        (traffic,) = [each for each in await other.client.peers() if each.peer_id == owner.endpoint.peer_id]
        size = fetched.files[learnware].stat().st_size
        assert traffic.bytes_in < size - further + 4 * MB
        with open_package(fetched.files[learnware], specifications=False) as package:
            assert package.verify("model.onnx") > 40 * MB


async def test_an_owner_that_is_killed_while_it_predicts_is_seen_at_once(make_home, start_home, tmp_path, rows):
    async with institution("owner", tmp_path / "owner") as owner, start_home(*make_home("asker")) as asker:
        federation = await joined(owner, asker)
        learnware = await published(owner, rows, tmp_path, 1)
        await owner.client.publish(learnware, federation, BOTH)
        await known(asker, learnware)
        listing = asker.node.catalogue.find(bytes.fromhex(learnware), now_ms())
        many = np.random.default_rng(1).normal(size=(4_000_000, 4)).astype(np.float32)
        remote = asker.node.network.predicting(
            owner.endpoint.peer_id, listing.federation, listing.learnware_id, Island.mint(rows).digest, "u", 1
        )
        async with remote as model:
            few = (await model.predict(many[:5000])).values
            assert np.allclose(few[:, 0], many[:5000].sum(axis=1), atol=1e-4)
            task = asyncio.create_task(model.predict(many))
            (peer,) = [each for each in await asker.client.peers() if each.peer_id == owner.endpoint.peer_id]
            async with asyncio.timeout(20):
                while (await asker.client.peers())[0].bytes_out < peer.bytes_out + 2 * MB:
                    await asyncio.sleep(0.01)
            assert not task.done()
            owner.process.kill()
            started = time.monotonic()
            said = await task
            assert said.error.code.startswith("p2p.")
            assert 0 < said.rows.sum() < len(many)
            assert time.monotonic() - started < 3
