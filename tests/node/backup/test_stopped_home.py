"""A stopped home is backed up and restored as it was; a command says what was done."""

import io
import json
import os
import tarfile

import pytest
from atoll.engine.errors import IntegrityError
from atoll.node import identity as identities
from atoll.node.errors import ConfigError, StoreError
from atoll.node.store import restoring
from atoll.node.store.backup import make, offline
from atoll.node.store.blobs import BlobStore
from atoll.node.store.downloads import DownloadCache, DownloadRow
from atoll.node.store.environment import Store
from atoll.node.store.verification import verify_home
from backups import NOW, contents, invoke, put_blobs, restore, silent


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
