"""Verification: every kind of damage is named, a damaged file cannot end the process, and nothing is changed."""

import hashlib
import json
import os
import random

import lmdb
import pytest
from atoll.engine.encoding import pack
from atoll.node import lock
from atoll.node.administration import InviteRow
from atoll.node.app import running
from atoll.node.cli.main import cli
from atoll.node.cli.main import main as command
from atoll.node.errors import HomeMissing, StoreError, StoreTooNew
from atoll.node.store import rows, verification
from atoll.node.store.blobs import BlobStore
from atoll.node.store.dock import DockRow, SpecRow
from atoll.node.store.downloads import DownloadRow
from atoll.node.store.environment import TABLES, Store
from atoll.node.store.tokens import TokenRow
from atoll.protocol.signing import Record
from click.testing import CliRunner

BLOBS = tuple(f"blob {number}".encode() * 1000 for number in range(6))
DIGESTS = tuple(hashlib.sha256(blob).hexdigest() for blob in BLOBS)


@pytest.fixture
def home(make_home):
    """A home with a few hundred tokens, a row of the dock, a download, and the blobs they name; without free pages."""
    made, _ = make_home("node")
    blobs = BlobStore(made / "blobs")
    manifest, model, served, spec, *download = map(blobs.put, BLOBS)
    store = Store(made / "store")
    tokens, dock = store.table("tokens", TokenRow), store.table("dock", DockRow)
    downloads = store.table("downloads", DownloadRow)
    row = DockRow(bytes(32), bytes(32), manifest, model, served, (SpecRow(bytes(32), spec, b"salt"),))

    def fill(txn):
        for number in range(300):
            key = hashlib.sha256(bytes([number % 256, number // 256])).digest()
            tokens.put(txn, key, TokenRow(key.hex()[:12], f"token {number}", ("read",), number, None))
        dock.put(txn, row.learnware_id, row)
        downloads.put(txn, bytes(32), DownloadRow(*download))

    store.write(fill).result()
    compact = made / "compact"
    with compact.open("wb") as file, store.view() as txn:
        store.copy(txn, file)
    store.close()
    compact.replace(made / "store" / "data.mdb")
    return made


@pytest.fixture
def write_raw(home):
    """Write bytes under a key of a table, whatever they are."""

    def write(table, key, value):
        env = lmdb.open(str(home / "store"), max_dbs=len(TABLES))
        with env.begin(write=True) as txn:
            txn.put(key, value, db=env.open_db(table.encode(), txn=txn))
        env.close()

    return write


def blob(home, digest):
    return home / "blobs" / "sha256" / digest[:2] / digest


def state(home):
    return {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in home.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def damage(home, *, deep=True):
    return verification.verify_home(home, deep=deep).damage


def test_every_table_of_the_store_is_known_to_verification():
    assert set(rows.ROWS) | {"meta"} == set(TABLES)


def test_a_whole_home_is_counted_and_not_changed(home):
    before = state(home)
    report = verification.verify_home(home)
    assert report.damage == ()
    assert (report.tables["tokens"], report.tables["dock"], report.tables["meta"]) == (301, 1, 1)
    assert (report.blobs, report.bytes) == (6, sum(map(len, BLOBS)))
    assert state(home) == before


@pytest.mark.parametrize("digest", DIGESTS)
def test_a_removed_blob_is_named_unless_it_can_be_fetched_again(home, digest):
    blob(home, digest).unlink()
    for deep in (True, False):
        found = damage(home, deep=deep)
        assert len(found) == (0 if digest in DIGESTS[4:] else 1)
        assert all(digest in each for each in found)


def test_a_changed_blob_is_named(home):
    blob(home, DIGESTS[1]).write_bytes(BLOBS[1][:-1] + b"x")
    (found,) = damage(home)
    assert DIGESTS[1] in found


def test_the_command_names_the_damage_and_ends_with_the_code_of_integrity(home, monkeypatch, capsys):
    blob(home, DIGESTS[0]).unlink()
    monkeypatch.setattr("sys.argv", ["atoll", "verify", "--home", str(home), "--json"])
    with pytest.raises(SystemExit) as ended:
        command()
    printed = capsys.readouterr()
    assert ended.value.code == 18
    assert DIGESTS[0] in json.loads(printed.out)["damage"][0]
    assert DIGESTS[0] in printed.err


def test_a_damaged_key_is_named(home):
    (home / "identity.key").write_text("no key")
    (found,) = damage(home)
    assert "identity.key" in found


def test_what_is_no_home_is_not_verified(tmp_path):
    for place in (tmp_path, tmp_path / "nothing"):
        assert isinstance(CliRunner().invoke(cli, ["verify", "--home", str(place)]).exception, HomeMissing)


ROWS = {"empty": b"", "no msgpack": b"\xc1", "a number": pack(1), "another": pack({"id": 1}), "large": bytes(2 << 20)}


@pytest.mark.parametrize("raw", [*ROWS.values(), os.urandom(50)], ids=[*ROWS, "random"])
def test_a_row_that_is_not_of_its_type_is_named(home, write_raw, raw):
    write_raw("tokens", b"key", raw)
    (found,) = damage(home, deep=False)
    assert "tokens" in found
    assert b"key".hex() in found


def test_a_row_under_the_wrong_key_is_named(home, write_raw):
    write_raw("dock", b"\1" * 32, pack(DockRow(bytes(32), bytes(32), *(bytes.fromhex(d) for d in DIGESTS[:3]), ())))
    assert damage(home, deep=False) == ()
    (found,) = damage(home)
    assert "dock" in found
    assert "key" in found


def test_an_invite_that_is_kept_by_its_token_is_named(home, write_raw):
    row = pack(InviteRow(bytes(32), 1))
    write_raw("invites", bytes(32), row)
    assert damage(home) == ()
    write_raw("invites", bytes(16), row)
    (found,) = damage(home)
    assert "invites" in found


def test_a_listing_whose_signature_does_not_hold_is_named(home, write_raw):
    write_raw("listings", bytes(96), pack(Record(b"body", bytes(64))))
    (found,) = damage(home)
    assert "listings" in found


def test_a_number_that_is_none_is_named(home, write_raw):
    write_raw("meta", b"restored_at", b"yesterday")
    assert "meta" in damage(home)[0]


def test_a_table_that_has_lost_its_name_is_missed(home):
    env = lmdb.open(str(home / "store"), max_dbs=len(TABLES) + 1)
    with env.begin(write=True) as txn:
        txn.drop(env.open_db(b"dock", txn=txn))
        env.open_db(b"dnck", txn=txn)
    env.close()
    assert "'dnck'" in damage(home)[0]
    assert "'dock'" in damage(home)[0]


def test_a_newer_store_is_not_judged(home, write_raw):
    write_raw("meta", b"schema", b"999")
    with pytest.raises(StoreTooNew, match="999"):
        verification.verify_home(home)


def test_a_missing_store_is_damage(home):
    (home / "store" / "data.mdb").unlink()
    assert "no store" in damage(home)[0]


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"\x55"])
def test_a_damaged_page_is_found(home, fill):
    path = home / "store" / "data.mdb"
    whole = path.read_bytes()
    pages = [at for at in range(2 * 4096, len(whole), 4096) if b"token 1" in whole[at : at + 4096]]
    assert len(pages) > 5
    for at in pages[::3]:
        path.write_bytes(whole[:at] + fill * 4096 + whole[at + 4096 :])
        assert damage(home, deep=False), at
    path.write_bytes(whole)
    assert damage(home) == ()


def test_a_file_cut_short_is_found_though_reading_it_ends_the_process(home):
    path = home / "store" / "data.mdb"
    os.truncate(path, path.stat().st_size // 2)
    (found,) = damage(home, deep=False)
    assert "SIGBUS" in found


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("first", "count"), [(0, 12), pytest.param(12, 400, marks=pytest.mark.slow)])
def test_random_damage_never_ends_the_process_that_asks(home, first, count):
    path = home / "store" / "data.mdb"
    whole = path.read_bytes()
    for seed in range(first, first + count):
        chance = random.Random(seed)
        torn = bytearray(whole)
        for _ in range(chance.choice((1, 8, 64))):
            torn[chance.randrange(len(torn))] ^= 1 << chance.randrange(8)
        path.write_bytes(torn)
        verification.verify_home(home)


def test_a_store_that_is_not_read_in_time_is_damage(home, monkeypatch):
    monkeypatch.setattr(verification, "SECONDS", 0.0)
    monkeypatch.setattr(verification, "BYTES_PER_SECOND", 1e12)
    assert "could not be read in" in damage(home)[0]


async def test_a_running_node_is_not_verified(make_home, start_home):
    home, token = make_home("node")
    async with start_home(home, token):
        result = CliRunner().invoke(cli, ["verify", "--home", str(home)])
    assert "a node is running" in result.exception.message
    assert CliRunner().invoke(cli, ["verify", "--home", str(home)]).exit_code == 0


async def test_a_home_that_was_not_closed_is_verified_before_it_is_opened(make_home, start_home):
    home, token = make_home("node")
    async with start_home(home, token):
        assert lock.was_killed(home)
    assert not lock.was_killed(home)
    (home / "running").write_text("1\n")
    async with start_home(home, token) as node:
        assert (await node.client.node()).peer_id == node.node.identity.peer
    assert not lock.was_killed(home)


async def test_a_damaged_home_that_was_not_closed_is_not_opened(home):
    os.truncate(home / "store" / "data.mdb", 4 * 4096)
    (home / "running").write_text("1\n")
    for _ in range(2):
        with pytest.raises(StoreError, match="damaged") as error:
            async with running(home):
                pass
        assert "atoll restore" in error.value.hint
    assert lock.was_killed(home)
