"""The cache of downloads: how much it holds, what goes first, and what never does."""

import hashlib
import io
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from atoll.engine.errors import IntegrityError, PackageError
from atoll.engine.packages import archive, open_package
from atoll.engine.packages.pack import pack
from atoll.engine.runtime import Signature
from atoll.engine.semantic import SemanticSpec
from atoll.node.errors import CacheFull, NodeBusy
from atoll.node.store import partial as partials
from atoll.node.store.blobs import BlobStore
from atoll.node.store.dock import Dock
from atoll.node.store.downloads import DownloadCache, DownloadRow
from atoll.node.store.environment import Store
from atoll.node.store.partial import Partial
from atoll.protocol.errors import NotFound

OWNER = b"o" * 32


@pytest.fixture
def blobs(tmp_path):
    return BlobStore(tmp_path / "blobs")


@pytest.fixture
def store(tmp_path):
    with closing(Store(tmp_path / "store")) as opened:
        yield opened


@pytest.fixture
def packages(digits):
    """As an owner serves them: {name: (revision, bytes)}; "again" has the same model as "low", by another owner."""
    island = digits.island()
    made = {
        "low": digits.package("one", island, 0, 1), "high": digits.package("one", island, 2, 3),
        "last": digits.package("one", island, 4, 5),
    }  # fmt: skip
    made["again"] = packed(digits, "two", made["low"])
    return {name: served(package) for name, package in made.items()}


def packed(digits, owner, like):
    """Another package of the same model."""
    out = io.BytesIO()
    with open_package(io.BytesIO(like), specifications=False) as package:
        model = b"".join(package.pieces(package.manifest.model))
    pack(
        out, model, digits.of(0, 1), digits.island(), SemanticSpec("Again"), Signature("classification", 64, 2),
        owner=owner, created_at=1, salt=bytes(16), class_names=("0", "1"), size=40,
    )  # fmt: skip
    return out.getvalue()


def served(data):
    out = io.BytesIO()
    with open_package(io.BytesIO(data)) as package:
        private = {spec.path for spec in package.manifest.specifications}
        archive.write(
            out, package.manifest_bytes, {e.path: package for e in package.manifest.files if e.path not in private}
        )
        return package.revision, out.getvalue()


def fetch(cache, blobs, revision, data):
    """As Downloads does."""
    partial = Partial(blobs, revision)
    with cache.coming(revision) as room:
        room(len(data))
        partial.begin(hashlib.sha256(data).digest()).write_bytes(data)
        return cache.take_in(revision, partial, learnware_id=revision, owner=OWNER)


def clock():
    now = [0]

    def tick():
        now[0] += 10**6
        return now[0]

    return tick


def on_disk(blobs):
    return sum(path.stat().st_size for path in blobs.path(bytes(32)).parents[1].rglob("*") if path.is_file())


def test_what_was_not_used_for_longest_goes_first_and_its_files_with_it(store, blobs, packages):
    size = 2 * max(len(data) for _, data in packages.values())
    cache = DownloadCache(store, blobs, 2 * size, clock())
    (low, _), (high, _), (last, _) = (packages[name] for name in ("low", "high", "last"))
    rows = {name: fetch(cache, blobs, *packages[name]) for name in ("low", "high")}
    cache.touch(low, rows["low"])
    store.write(lambda txn: None).result()  # what was written without waiting has been by then
    fetch(cache, blobs, *packages["last"])
    assert [revision for revision, _ in cache.all()] == [last, low]
    assert not any(blobs.has(digest) for digest in set(rows["high"].blobs))
    assert on_disk(blobs) == sum(row.size for _, row in cache.all()) <= 2 * size
    assert cache.find(high) is None


def test_what_is_used_or_coming_is_never_removed(store, blobs, packages):
    size = 2 * max(len(data) for _, data in packages.values())
    cache = DownloadCache(store, blobs, size, clock())
    row = fetch(cache, blobs, *packages["low"])
    with cache.used(packages["low"][0]):
        with cache.used(packages["low"][0]):
            pass
        with pytest.raises(CacheFull, match="in use"):
            fetch(cache, blobs, *packages["high"])
        with pytest.raises(NodeBusy):
            cache.forget(packages["low"][0])
    assert all(map(blobs.has, row.blobs))
    with cache.coming(b"x" * 32) as room:
        room(size // 2)
        with pytest.raises(CacheFull, match="in use"):
            fetch(cache, blobs, *packages["high"])
    assert cache.all() == []
    fetch(cache, blobs, *packages["high"])


def test_using_never_waits_for_what_is_being_removed(store, blobs, packages):
    cache = DownloadCache(store, blobs, 1 << 30, clock())
    fetch(cache, blobs, *packages["low"])
    revision = packages["low"][0]
    with ThreadPoolExecutor(1) as threads:
        with blobs.claiming():  # the removal waits for it
            removal = threads.submit(cache.forget, revision)
            while cache.find(revision) is not None:
                time.sleep(0.001)
            with cache.used(revision), cache.used(packages["high"][0]):
                assert not removal.done()
        removal.result(10)
    assert cache.all() == []


def test_a_package_that_never_fits_is_refused_before_it_comes(store, blobs, packages):
    cache = DownloadCache(store, blobs, 2 * len(packages["low"][1]) - 1, clock())
    with pytest.raises(CacheFull, match="downloads may take") as refused:
        fetch(cache, blobs, *packages["low"])
    assert "reuse.cache_bytes" in refused.value.hint


def test_files_that_something_else_names_stay(store, blobs, packages, digits, tmp_path):
    cache, dock = DownloadCache(store, blobs, 1 << 30, clock()), Dock(store, blobs, "me")
    low, again = fetch(cache, blobs, *packages["low"]), fetch(cache, blobs, *packages["again"])
    assert low.model == again.model
    cache.forget(packages["low"][0])
    assert blobs.has(low.model)
    assert not blobs.has(low.package)
    own = tmp_path / "own"
    own.write_bytes(packed(digits, "me", packages["low"][1]))
    learnware = dock.add(own)
    assert learnware.row.model == low.model
    cache.forget(packages["again"][0])
    assert blobs.has(low.model)
    assert not blobs.has(again.manifest)
    with pytest.raises(NotFound):
        cache.forget(packages["again"][0])


def test_what_came_wrong_leaves_nothing(store, blobs, packages, tmp_path):
    cache = DownloadCache(store, blobs, 1 << 30, clock())
    revision, data = packages["low"]
    for what, promised, error in (
        (data[:-1] + b"x", hashlib.sha256(data).digest(), IntegrityError),
        (packages["high"][1], hashlib.sha256(packages["high"][1]).digest(), IntegrityError),
        (b"no package", hashlib.sha256(b"no package").digest(), PackageError),
    ):
        partial = Partial(blobs, revision)
        partial.begin(promised).write_bytes(what)
        with pytest.raises(error):
            cache.take_in(revision, partial, learnware_id=revision, owner=OWNER)
        assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []


def test_downloads_of_the_version_before_are_kept_and_those_without_files_forgotten(store, blobs):
    rows = store.table("downloads", DownloadRow)
    old = DownloadRow(blobs.put(b"manifest"), blobs.put(b"the model"))
    store.write(lambda txn: rows.put(txn, b"a" * 32, old)).result()
    store.write(lambda txn: rows.put(txn, b"b" * 32, DownloadRow(bytes(32), old.model))).result()
    cache = DownloadCache(store, blobs, 1 << 30, clock())
    assert [(revision, row.size) for revision, row in cache.all()] == [(b"a" * 32, 17)]


def test_a_download_that_nobody_goes_on_with_is_forgotten(store, blobs, monkeypatch):
    path = Partial(blobs, b"r" * 32).begin(b"p" * 32)
    assert Partial(blobs, b"r" * 32).promised == b"p" * 32
    DownloadCache(store, blobs, 1 << 30, clock())
    assert path.exists()
    monkeypatch.setattr(partials, "FORGOTTEN", -1.0)
    DownloadCache(store, blobs, 1 << 30, clock())
    assert not path.exists()
