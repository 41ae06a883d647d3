"""The store: acknowledged means kept, failed means nothing left, newer is refused."""

import lmdb
import pytest
from atoll.node.errors import StoreError, StoreTooNew
from atoll.node.store import environment
from atoll.node.store.environment import Store


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "store")
    yield opened
    opened.close()


def test_what_was_acknowledged_is_there_after_reopening(tmp_path):
    store = Store(tmp_path)
    rows = store.table("dock", int)
    store.write(lambda txn: rows.put(txn, b"a", 1)).result()
    store.close()
    again = Store(tmp_path)
    with again.view() as txn:
        assert again.table("dock", int).get(txn, b"a") == 1
    again.close()


def test_an_operation_that_fails_leaves_nothing_and_harms_no_other(store):
    rows = store.table("dock", int)

    def broken(txn):
        rows.put(txn, b"broken", 1)
        raise ValueError("no")

    futures = [store.write(lambda txn, n=n: rows.put(txn, bytes([n]), n)) for n in range(10)]
    failed = store.write(broken)
    futures += [store.write(lambda txn, n=n: rows.put(txn, bytes([n]), n)) for n in range(10, 20)]
    for future in futures:
        future.result()
    with pytest.raises(ValueError, match="no"):
        failed.result()
    with store.view() as txn:
        assert [value for _, value in rows.scan(txn)] == list(range(20))


def test_a_full_map_grows(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "MAP_SIZE", 1 << 20)
    store = Store(tmp_path)
    rows = store.table("dock", bytes)
    for number in range(40):
        store.write(lambda txn, n=number: rows.put(txn, bytes([n]), bytes(100_000))).result()
    with store.view() as txn:
        assert len(list(rows.scan(txn))) == 40
    store.close()


def test_a_store_that_cannot_grow_says_that_it_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "MAP_SIZE", 1 << 20)
    monkeypatch.setattr(environment, "MAX_MAP_SIZE", 1 << 20)
    store = Store(tmp_path)
    rows = store.table("dock", bytes)
    futures = [store.write(lambda txn, n=n: rows.put(txn, bytes([n]), bytes(100_000))) for n in range(40)]
    assert all(isinstance(future.exception(), environment.StoreFull) for future in futures)
    store.write(lambda txn: rows.put(txn, b"small", b"fits")).result()
    store.close()


def test_a_map_grows_only_when_nobody_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "MAP_SIZE", 1 << 20)
    store = Store(tmp_path)
    rows = store.table("dock", bytes)
    store.write(lambda txn: rows.put(txn, b"first", bytes(100))).result()
    with store.view() as txn:
        futures = [store.write(lambda txn, n=n: rows.put(txn, bytes([n]), bytes(100_000))) for n in range(40)]
        with pytest.raises(TimeoutError):
            futures[-1].result(timeout=0.3)
        assert [key for key, _ in rows.scan(txn)] == [b"first"]
    for future in futures:
        future.result()
    with store.view() as txn:
        assert len(list(rows.scan(txn))) == 41
    store.close()


def test_a_store_that_is_read_all_the_time_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "MAP_SIZE", 1 << 20)
    monkeypatch.setattr(environment, "GROW_SECONDS", 0.1)
    store = Store(tmp_path)
    rows = store.table("dock", bytes)
    with store.view(), pytest.raises(StoreError, match="being read"):
        store.write(lambda txn: rows.put(txn, b"large", bytes(1 << 20))).result()
    store.write(lambda txn: rows.put(txn, b"large", bytes(1 << 20))).result()
    store.close()


def test_a_copy_is_what_its_view_sees(store, tmp_path):
    rows = store.table("dock", int)
    store.write(lambda txn: rows.put(txn, b"before", 1)).result()
    (tmp_path / "copy").mkdir()
    with (tmp_path / "copy" / "data.mdb").open("wb") as file, store.view() as txn:
        store.write(lambda txn: rows.put(txn, b"later", 2)).result()
        store.copy(txn, file)
    copied = Store(tmp_path / "copy")
    with copied.view() as txn:
        assert list(copied.table("dock", int).scan(txn)) == [(b"before", 1)]
    copied.close()


def test_a_newer_schema_is_refused_and_not_touched(tmp_path):
    Store(tmp_path).close()
    env = lmdb.open(str(tmp_path), max_dbs=20)
    table = env.open_db(b"meta")
    with env.begin(write=True) as txn:
        txn.put(b"schema", b"999", db=table)
    env.close()
    with pytest.raises(StoreTooNew, match="999"):
        Store(tmp_path)
    with pytest.raises(StoreTooNew):
        Store(tmp_path)


def test_scanning_by_prefix_stops_at_its_end(store):
    rows = store.table("dock", int)
    for key in (b"a1", b"a2", b"b1"):
        store.write(lambda txn, key=key: rows.put(txn, key, 0)).result()
    with store.view() as txn:
        assert [key for key, _ in rows.scan(txn, b"a")] == [b"a1", b"a2"]
        assert list(rows.scan(txn, b"c")) == []
