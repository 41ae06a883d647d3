"""A backup of a node at work is one moment of it, and is for administrators."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import aiohttp
import msgspec
import pytest
from atoll.node.api import backup as api
from atoll.node.client import AsyncClient, RemoteError
from atoll.node.errors import NodeUnreachable
from atoll.node.store import backup_file, restoring
from atoll.protocol.listings import Offers
from backups import NOW, invoke, put_blobs, restore, silent


@pytest.fixture
def answered(monkeypatch):
    """``await answered(node)``: the outcome of the node's next act, once the audit log has it; ask before acting."""

    def listen(node):
        loop, outcome = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
        append = node.node.audit.append

        def noticed(actor, act, subject, found, now):
            row = append(actor, act, subject, found, now)
            if found != "asked":
                loop.call_soon_threadsafe(outcome.set_result, found)
            return row

        monkeypatch.setattr(node.node.audit, "append", noticed)
        return asyncio.wait_for(outcome, 20)

    return listen


async def test_a_backup_taken_under_writes_is_one_moment_of_the_node(make_home, start, start_home, publish, tmp_path):
    home, token = make_home("a")
    (other,) = await start("b")
    async with start_home(home, token) as node:
        federation = (await node.client.create_federation("test")).id
        await other.client.join((await node.client.invite(federation)).invite)
        for classes in ((0, 1), (2, 3)):
            await publish(node, federation, Offers(disclose="members"), *classes)
        await node.client.create_token("before", ("read",), 1)
        before = [await view(node.client, federation) for view in VIEWS]
        with writing(node.node.tokens) as written:
            already = len(written)
            await node.client.backup(tmp_path / "b.tar")

    assert oct((tmp_path / "b.tar").stat().st_mode)[-3:] == "600"
    assert restoring.verify(tmp_path / "b.tar", silent).damage == ()
    restore(tmp_path / "b.tar", tmp_path / "again")
    assert oct((tmp_path / "again" / "identity.key").stat().st_mode)[-3:] == "600"
    async with start_home(tmp_path / "again", token) as again:
        assert again.node.identity.peer == node.node.identity.peer
        assert [await view(again.client, federation) for view in VIEWS] == before
        names = {each.name for each in await again.client.tokens()}
    assert {"first admin", "before"} < names
    during = names - {"first admin", "before"}
    assert during == {f"during {number}" for number in range(len(during))}  # none is missing among those before it
    assert already <= len(during) < len(written)


@contextmanager
def writing(tokens):
    """A thread that makes tokens, one after the other; the block begins after the first and ends before the last."""
    written, stop, busy, more = [], threading.Event(), threading.Event(), threading.Event()

    def write():
        while not stop.is_set():
            written.append(tokens.create(f"during {len(written)}", ("read",), NOW, None)[1])
            (more if busy.is_set() else busy).set()

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        try:
            assert busy.wait(20)
            yield written
            more.clear()
            assert more.wait(20)
        finally:
            stop.set()
        writer.result()


async def listings(client, federation):
    return {(each.learnware_id, each.revision, each.owner) for each in await client.catalogue()}


async def dock(client, federation):
    return await client.learnwares()


async def federations(client, federation):
    return [(each.id, each.name, each.roles) for each in await client.federations()]


async def member_list(client, federation):
    return sorted((each.peer_id, each.name, each.roles) for each in await client.members(federation))


async def islands(client, federation):
    return [island.id for island in await client.islands()]


VIEWS = (listings, dock, federations, member_list, islands)


async def test_the_backup_command_asks_the_running_node_and_tells_of_the_key(make_home, start_home, tmp_path):
    home, token = make_home("node")
    async with start_home(home, token) as node:
        (home / "endpoint.json").write_bytes(
            msgspec.json.encode({"url": node.url, "peer_id": node.node.identity.peer, "addresses": []})
        )
        result = await invoke("backup", tmp_path / "b.tar", "--home", home, "--token", token)
        assert "private key" in result.output
        assert (
            "restore needs it"
            in (await invoke("backup", tmp_path / "c.tar", "--home", home, "--token", token, "--without-key")).output
        )
    assert manifest_of(tmp_path / "b.tar").names == {"atoll.toml", "identity.key", "store/data.mdb"}
    assert manifest_of(tmp_path / "c.tar").names == {"atoll.toml", "store/data.mdb"}


async def test_a_backup_is_for_administrators_and_is_in_the_audit_log(start, tmp_path, answered):
    (node,) = await start("node")
    made = await node.client.create_token("publisher", ("read", "predict", "publish"), 1)
    async with AsyncClient(node.url, made.secret) as client:
        with pytest.raises(RemoteError) as refused:
            await client.backup(tmp_path / "b.tar")
    assert refused.value.code == "auth.scope"
    assert list(tmp_path.glob("*b.tar*")) == []
    outcome = answered(node)
    await node.client.backup(tmp_path / "b.tar")
    assert await outcome == "done"
    rows = [(row.act, row.outcome) for row in (await node.client.audit()).items]
    assert rows[-2:] == [("node.backup", "asked"), ("node.backup", "done")]


async def test_a_backup_of_a_node_that_lacks_a_blob_is_refused_and_leaves_nothing(federated, publish, tmp_path):
    (node,), federation = await federated("node")
    await publish(node, federation, Offers(), 0, 1)
    model = node.node.dock.model_path(node.node.dock.all()[0])
    model.unlink()
    with pytest.raises(RemoteError, match=model.name) as refused:
        await node.client.backup(tmp_path / "b.tar")
    assert refused.value.code == "integrity.mismatch"
    assert list(tmp_path.glob("*b.tar*")) == []


async def test_a_blob_that_has_changed_breaks_the_backup_off_and_leaves_nothing(federated, publish, tmp_path, answered):
    (node,), federation = await federated("node")
    await publish(node, federation, Offers(), 0, 1)
    model = node.node.dock.model_path(node.node.dock.all()[0])
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    outcome = answered(node)
    with pytest.raises(NodeUnreachable, match="broke the backup off"):
        await node.client.backup(tmp_path / "b.tar")
    assert list(tmp_path.glob("*b.tar*")) == []
    assert await outcome == "integrity.mismatch"
    assert (await node.client.node()).peer_id


async def test_a_caller_that_hangs_up_leaves_a_node_that_goes_on(start, tmp_path, answered, monkeypatch):
    (node,) = await start("node")
    store, blobs = node.node.store, node.node.blobs
    put_blobs(store, blobs, os.urandom(64 << 20), b"model")
    headers = {"Authorization": f"Bearer {node.token}"}
    outcome = answered(node)
    async with aiohttp.ClientSession(headers=headers) as session:
        response = await session.get(f"{node.url}/api/v1/backup")
        assert len(await response.content.readexactly(1 << 20)) == 1 << 20
        response.close()
    assert await outcome == "request.invalid"
    monkeypatch.undo()
    await node.client.backup(tmp_path / "b.tar")
    assert restoring.verify(tmp_path / "b.tar", silent).blobs == 2


async def test_an_unknown_wish_about_the_key_is_refused(start):
    (node,) = await start("node")
    headers = {"Authorization": f"Bearer {node.token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.get(f"{node.url}/api/v1/backup?key=maybe") as response:
            assert response.status == 400
        async with session.get(f"{node.url}/api/v1/backup?key=false") as response:
            assert response.content_type == api.MEDIA_TYPE
            assert len(await response.read()) == response.content_length


def manifest_of(path):
    with path.open("rb") as file:
        return backup_file.read_manifest(file)
