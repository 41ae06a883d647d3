"""Backup of a node at work, restore into a new home; a damaged or hostile backup leaves nothing behind."""

import asyncio
import hashlib
import io
import json
import os
import random
import signal
import sys
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager

import aiohttp
import lmdb
import msgspec
import pytest
from atoll.engine.errors import AtollError, IntegrityError
from atoll.node import identity as identities
from atoll.node import lock
from atoll.node.api import backup as api
from atoll.node.cli.main import cli
from atoll.node.client import AsyncClient, RemoteError
from atoll.node.errors import ConfigError, NodeUnreachable, StoreError, StoreTooNew
from atoll.node.store import backup_file, restoring
from atoll.node.store.backup import make, offline
from atoll.node.store.backup_file import Manifest, Member
from atoll.node.store.blobs import BlobStore
from atoll.node.store.dock import DockRow
from atoll.node.store.downloads import DownloadCache, DownloadRow
from atoll.node.store.environment import Store
from atoll.node.store.verification import verify_home
from atoll.protocol.listings import Offers
from click.testing import CliRunner

NOW = 1_900_000_000_000


def silent(done, total):
    pass


def restore(path, home, identity=None):
    return restoring.restore(path, home, NOW, identity=identity, progress=silent)


def put_blobs(store, blobs, *contents):
    """As those of a learnware of the dock."""
    manifest, model, *others = map(blobs.put, contents)
    row = DockRow(bytes(32), bytes(32), manifest, model, others[0] if others else model, ())
    store.write(lambda txn: store.table("dock", DockRow).put(txn, bytes(32), row)).result()


def contents(home):
    """All that a home is: its files, and every row of its store but the mark of a restore."""
    files = {
        str(path.relative_to(home)): path.read_bytes()
        for path in (home / "atoll.toml", home / "identity.key", *(home / "blobs").rglob("*"))
        if path.is_file()
    }
    env = lmdb.open(str(home / "store"), max_dbs=100, readonly=True, lock=False)
    with env.begin() as txn:
        tables = [name for name, _ in txn.cursor()]
        rows = {name: dict(txn.cursor(db=env.open_db(name, txn=txn, create=False))) for name in tables}
    env.close()
    rows[b"meta"].pop(b"restored_at", None)
    return files, rows


@pytest.fixture
def home(make_home):
    """A stopped node's home, with two blobs."""
    made, _ = make_home("node")
    blobs, store = BlobStore(made / "blobs"), Store(made / "store")
    put_blobs(store, blobs, b"manifest" * 100, os.urandom(3000))
    store.close()
    return made


@pytest.fixture
def whole(home, tmp_path):
    """The backup of a stopped home, as bytes."""
    path = tmp_path / "whole.tar"
    offline(home, path, NOW, with_key=True, progress=silent)
    data = path.read_bytes()
    path.unlink()
    return data


@pytest.fixture
def refused(tmp_path):
    """``refused(data)``: the error with which a restore of ``data`` ends, having left nothing; None if it succeeds."""

    def attempt(data, home=tmp_path / "restores" / "home"):
        (tmp_path / "attempt.tar").write_bytes(data)
        before = sorted(tmp_path.rglob("*"))
        try:
            restore(tmp_path / "attempt.tar", home)
        except AtollError as error:
            assert sorted(tmp_path.rglob("*")) == before
            return error
        return None

    return attempt


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


def read_tar(data):
    """(manifest, {name: bytes}, {name: offset of its header}) of a backup, by the standard library."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        manifest = msgspec.json.decode(tar.extractfile("manifest.json").read(), type=Manifest)
        files = {member.name: tar.extractfile(member.name).read() for member in manifest.members}
        return manifest, files, {name: tar.getmember(name).offset for name in files}


def sound(files, *, like=None):
    """A backup of {name: bytes} that is laid out soundly, whatever it holds."""
    found = tuple(Member(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items())
    manifest = msgspec.structs.replace(like or Manifest(1, NOW, "somebody", "0", ()), members=found)
    return b"".join(backup_file.write(manifest, [[data] for data in files.values()]))


# -- a running node ----------------------------------------------------------------------------------------------------


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


# -- backup and restore of a stopped home ------------------------------------------------------------------------------


def test_restoring_gives_the_home_again_and_marks_it(home, whole, tmp_path):
    (tmp_path / "b.tar").write_bytes(whole)
    (tmp_path / "empty").mkdir()
    for place in ("new", "deep/er/new", "empty"):
        report = restore(tmp_path / "b.tar", tmp_path / place)
        assert report.peer_id == identities.load(home).peer
        assert contents(tmp_path / place) == contents(home)
        store = Store(tmp_path / place / "store")
        assert store.marked("restored_at") == NOW
        store.close()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["b.tar", "deep", "empty", "new", "node"]


def test_downloads_are_in_no_backup_and_a_home_without_their_files_is_whole(home, tmp_path):
    blobs, store = BlobStore(home / "blobs"), Store(home / "store")
    row = DownloadRow(blobs.put(b"a manifest"), blobs.put(b"a model"))
    store.write(lambda txn: store.table("downloads", DownloadRow).put(txn, bytes(32), row)).result()
    store.close()
    offline(home, tmp_path / "b.tar", NOW, with_key=True, progress=silent)
    assert restoring.verify(tmp_path / "b.tar", silent).blobs == 2
    assert not restore(tmp_path / "b.tar", tmp_path / "new").damage
    blobs.path(row.model).write_bytes(b"changed")
    assert "has changed" in verify_home(home).damage[0]
    again = Store(tmp_path / "new" / "store")
    assert DownloadCache(again, BlobStore(tmp_path / "new" / "blobs"), 1 << 30, lambda: NOW).all() == []
    again.close()


def test_a_backup_is_a_tar_that_any_tar_reads(home, whole):
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        names = tar.getnames()
        manifest = json.load(tar.extractfile("manifest.json"))
        key = tar.extractfile("identity.key").read()
    assert names[0] == "manifest.json"
    assert names[1:] == [member["name"] for member in manifest["members"]]
    assert key == (home / "identity.key").read_bytes()


def test_chunks_stay_small_however_large_a_blob_is(home, tmp_path):
    blobs, store = BlobStore(home / "blobs"), Store(home / "store")
    put_blobs(store, blobs, bytes(20 << 20), b"model")
    backup = make(store, home, "peer", NOW, with_key=False)
    sizes = [len(chunk) for chunk in backup.chunks()]
    backup.close()
    store.close()
    assert max(sizes) < 3 << 20
    assert sum(sizes) == backup.manifest.length


def test_a_backup_without_the_key_asks_for_it(home, tmp_path, make_home):
    path = tmp_path / "b.tar"
    offline(home, path, NOW, with_key=False, progress=silent)
    assert (home / "identity.key").read_bytes() not in path.read_bytes()
    with pytest.raises(ConfigError) as error:
        restore(path, tmp_path / "new")
    assert "--identity" in error.value.hint
    other, _ = make_home("other")
    with pytest.raises(ConfigError, match="not that of"):
        restore(path, tmp_path / "new", other / "identity.key")
    with pytest.raises(ConfigError, match="readable key"):
        restore(path, tmp_path / "new", home / "atoll.toml")
    assert not (tmp_path / "new").exists()
    restore(path, tmp_path / "new", home / "identity.key")
    assert contents(tmp_path / "new") == contents(home)
    assert oct((tmp_path / "new" / "identity.key").stat().st_mode)[-3:] == "600"


def test_a_home_that_is_not_empty_is_not_restored_into(home, whole, tmp_path):
    (tmp_path / "b.tar").write_bytes(whole)
    before = contents(home)
    with pytest.raises(ConfigError, match=r"not empty.*atoll\.toml, blobs, identity\.key"):
        restore(tmp_path / "b.tar", home)
    with pytest.raises(ConfigError, match="not a folder"):
        restore(tmp_path / "b.tar", tmp_path / "b.tar")
    assert contents(home) == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["b.tar", "node"]


async def test_the_commands_work_where_no_node_runs(home, tmp_path):
    path = tmp_path / "b.tar"
    made = json.loads((await invoke("backup", path, "--home", home, "--json")).output)
    assert (made["bytes"], made["blobs"], made["key"]) == (path.stat().st_size, 2, True)
    verified = json.loads((await invoke("verify", path, "--json")).output)
    assert (verified["blobs"], verified["damage"]) == (2, [])
    restored = json.loads((await invoke("restore", path, "--home", tmp_path / "new", "--json")).output)
    assert restored["peer_id"] == made["peer_id"] == verified["peer_id"]
    assert contents(tmp_path / "new") == contents(home)
    assert "2 files" in (await invoke("verify", "--home", tmp_path / "new")).output


async def test_a_damaged_home_is_not_backed_up(home, tmp_path):
    os.truncate(home / "store" / "data.mdb", 3 * 4096)
    with pytest.raises(IntegrityError):
        offline(home, tmp_path / "b.tar", NOW, with_key=True, progress=silent)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["node"]


def test_a_backup_that_cannot_be_written_says_so(home, tmp_path):
    with pytest.raises(StoreError, match="was not written"):
        offline(home, tmp_path / "no" / "b.tar", NOW, with_key=True, progress=silent)


# -- damage and malice -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "count"), [(0, 40), pytest.param(40, 1000, marks=pytest.mark.slow)])
def test_a_flipped_bit_is_detected_or_changes_nothing(home, whole, refused, tmp_path, first, count):
    expected = contents(home)
    detected = 0
    for seed in range(first, first + count):
        place = random.Random(seed).randrange(len(whole) * 8)
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        new = tmp_path / f"restored-{seed}"
        if refused(flipped, new) is not None:
            detected += 1
        else:
            assert contents(new) == expected, f"seed {seed}"
    print(f"{detected} of {count} flips detected, the others changed nothing")
    assert detected > count * 0.9


def test_verifying_names_every_member_that_is_damaged(whole, tmp_path):
    _, files, offsets = read_tar(whole)
    names = [name for name in files if name.startswith("blobs/")]
    damaged = bytearray(whole)
    for name in names:
        damaged[offsets[name] + 512] ^= 1
    (tmp_path / "b.tar").write_bytes(damaged)
    report = restoring.verify(tmp_path / "b.tar", silent)
    assert len(report.damage) == len(names) == 2
    assert all(any(name in words for words in report.damage) for name in names)


def test_a_backup_cut_short_or_prolonged_is_refused(whole, refused):
    for length in (0, 1, 511, 512, 600, 1024, len(whole) // 2, len(whole) - 1025, len(whole) - 1):
        assert isinstance(refused(whole[:length]), IntegrityError), length
    for more in (b"\0", bytes(512), bytes(9216), whole):
        assert isinstance(refused(whole + more), IntegrityError)


@pytest.mark.parametrize(
    "name",
    ["../../outside", "/tmp/outside", "store/../../outside", "store/lock.mdb", "blobs/sha256/aa/../x", "running", "",
     "manifest.json", "blobs/sha256/" + "ab/" + "cd" * 32, "./atoll.toml", "atoll.toml/", "identity.key\0"],
)  # fmt: skip
def test_a_member_that_does_not_belong_into_a_home_is_refused(refused, name):
    error = refused(sound({"store/data.mdb": b"x", name: b"evil"}))
    assert isinstance(error, IntegrityError)
    assert "does not belong" in error.message


@pytest.mark.parametrize(
    "change",
    [
        *({"type": kind.encode(), "linkname": "/etc/passwd"} for kind in "123567SLKxg"),
        {"name": "/etc/passwd"}, {"name": "../outside"}, {"size": 1 << 40}, {"size": 0}, {"mode": 0o4777}, {"uid": 1},
    ],
)  # fmt: skip
def test_links_and_other_members_than_announced_are_refused(whole, refused, change):
    _, files, offsets = read_tar(whole)
    for name in files:
        at = offsets[name]
        header = tarfile.TarInfo.frombuf(whole[at : at + 512], "ascii", "strict")
        for key, value in change.items():
            setattr(header, key, value)
        error = refused(whole[:at] + header.tobuf(tarfile.GNU_FORMAT)[:512] + whole[at + 512 :])
        assert isinstance(error, IntegrityError)
        assert f"where {name} should begin" in error.message


def test_extra_missing_and_endless_members_are_refused(whole, refused):
    manifest, files, offsets = read_tar(whole)
    first, last = min(offsets.values()), max(offsets.values())
    extra = tarfile.TarInfo("extra").tobuf(tarfile.GNU_FORMAT)
    endless = msgspec.structs.replace(manifest, members=(*manifest.members[:-1], Member("atoll.toml", 2**52, "0" * 64)))
    twice = msgspec.structs.replace(manifest, members=(*manifest.members, manifest.members[0]))
    for data in (
        whole[:-1024] + extra + bytes(1024),
        whole[:-1024] + extra + bytes(512),
        whole[:last] + bytes(1024),
        whole[:first] + whole[last:-1024] + whole[first:last] + bytes(1024),
        b"".join(backup_file.write(twice, [[data] for data in (*files.values(), files["atoll.toml"])])),
        sound(files, like=manifest).replace(msgspec.json.encode(manifest), msgspec.json.encode(endless)),
        sound({name: data for name, data in files.items() if name != "store/data.mdb"}, like=manifest),
    ):
        assert isinstance(refused(data), IntegrityError)
    assert refused(sound(files, like=manifest)) is None


@pytest.mark.parametrize("damage", [
    lambda store: store[: 3 * 4096], lambda store: bytes(len(store)), lambda store: b"",
    lambda store: store[: 2 * 4096] + b"\xff" * (len(store) - 2 * 4096),
])  # fmt: skip
def test_a_sound_backup_of_an_unsound_store_is_refused(whole, refused, damage):
    manifest, files, _ = read_tar(whole)
    files["store/data.mdb"] = damage(files["store/data.mdb"])
    assert isinstance(refused(sound(files, like=manifest)), IntegrityError)


def test_a_backup_that_lacks_a_blob_is_refused(whole, refused):
    manifest, files, _ = read_tar(whole)
    gone = manifest.members[-1]
    del files[gone.name]
    error = refused(sound(files, like=manifest))
    assert isinstance(error, IntegrityError)
    assert gone.sha256 in error.message


def test_a_backup_of_a_newer_atoll_or_another_key_is_refused(whole, refused):
    manifest, files, _ = read_tar(whole)
    newer = refused(sound(files, like=msgspec.structs.replace(manifest, format=2)))
    assert isinstance(newer, StoreTooNew)
    foreign = refused(sound(files, like=msgspec.structs.replace(manifest, peer_id="another")))
    assert "not that of another" in foreign.message


@pytest.mark.parametrize("change", [
    {"peer_id": "\x1b[2J"}, {"peer_id": ""}, {"atoll": "0\n"}, {"created_at": -1}, {"created_at": 2**60},
])  # fmt: skip
def test_a_manifest_with_impossible_values_is_refused(whole, refused, change):
    manifest, files, _ = read_tar(whole)
    error = refused(sound(files, like=msgspec.structs.replace(manifest, **change)))
    assert isinstance(error, IntegrityError)
    assert error.message.isprintable()


# -- a node that was killed --------------------------------------------------------------------------------------------


@asynccontextmanager
async def served(home):
    """A real ``atoll serve``; yields its process and its endpoint, and ends it."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ATOLL_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "atoll.node.cli", "serve", "--home", str(home), "--json", "--exit-with-stdin",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.communicate(), 30)


async def test_a_killed_node_is_verified_and_starts_again(make_home):
    home, _ = make_home("killed")
    async with served(home) as process:
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        assert json.loads(line)["peer_id"]
        process.send_signal(signal.SIGKILL)
        await process.wait()
    assert lock.was_killed(home)
    async with served(home) as process:
        assert json.loads(await asyncio.wait_for(process.stdout.readline(), 60))["peer_id"]
    assert process.returncode == 0
    assert not lock.was_killed(home)


async def test_a_killed_node_with_a_damaged_store_says_what_to_do(make_home):
    home, _ = make_home("killed")
    async with served(home) as process:
        await asyncio.wait_for(process.stdout.readline(), 60)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    os.truncate(home / "store" / "data.mdb", 3 * 4096)
    async with served(home) as process:
        _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert b"atoll restore" in errors
    assert b"Traceback" not in errors


def manifest_of(path):
    with path.open("rb") as file:
        return backup_file.read_manifest(file)


async def invoke(*arguments):
    """A command in a thread of its own, as it runs an event loop of its own."""
    result = await asyncio.to_thread(CliRunner().invoke, cli, list(map(str, arguments)))
    assert result.exit_code == 0, (result.output, result.exception)
    return result
