"""Stores of older versions: opened, migrated, kept; and whatever goes wrong, nothing is lost."""

import asyncio
import json
import logging
import lzma
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from contextlib import closing
from functools import partial
from pathlib import Path

import lmdb
import msgspec
import numpy as np
import pytest
from atoll.engine.encoding import pack, unpack
from atoll.node.app import running
from atoll.node.cli.main import cli
from atoll.node.client import RemoteError
from atoll.node.clock import now_ms
from atoll.node.errors import StoreError, StoreFull, StoreTooNew, outcome
from atoll.node.identity import Identity
from atoll.node.store import backup, environment, migration, restoring, verification
from atoll.node.store.environment import SCHEMA, Store
from atoll.node.store.migration import migrate, schema_of
from atoll.node.store.steps import STEPS, Step
from atoll.protocol import limits
from atoll.protocol.listings import Offers
from atoll.protocol.membership import read_invite
from atoll.protocol.policy import Policy, Rule
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HOMES = Path(__file__).parent / "homes"
NOW = 1_900_000_000_000
NEXT = SCHEMA + 1
RARE = {"successions", "forks", "submissions", "admitted_code", "heads"}  # not in every home


def silent(done, total):
    pass


def renamed(txn, tables):
    """A step as one could be due: every token gets a new name."""
    for key, raw in list(txn.cursor(db=tables("tokens"))):
        row = unpack(bytes(raw), dict, limit=1 << 20)
        txn.put(bytes(key), pack({**row, "name": row["name"] + ", migrated"}), db=tables("tokens"))


RENAMING = Step(NEXT, "tokens are named anew", renamed)


@pytest.fixture
def old(make_home):
    """A home that this version has made, and its token."""
    return make_home("old")


@pytest.fixture
def newer(monkeypatch):
    """From here on this is the version after, whose schema is the next one: ``newer(step)``."""

    def become(*steps):
        for module in (environment, verification):
            monkeypatch.setattr(module, "SCHEMA", NEXT)
        monkeypatch.setattr(migration, "STEPS", (*STEPS, *steps))

    return become


def names(home):
    """Those of the tokens in a store, whatever its schema."""
    with closing(lmdb.open(str(home / "store"), readonly=True, lock=False, max_dbs=64)) as env, env.begin() as txn:
        tokens = env.open_db(b"tokens", txn=txn, create=False)
        return [unpack(bytes(raw), dict, limit=1 << 20)["name"] for _, raw in txn.cursor(db=tokens)]


def files(home):
    return sorted(path.name for path in home.iterdir())


def test_there_is_one_step_for_each_schema_since_the_first():
    assert [step.to for step in STEPS] == list(range(2, SCHEMA + 1))


def frozen_home(name, folder):
    """What is in a home of ``homes/``, and the backup that it was frozen as, in ``folder``."""
    (folder / "home.tar").write_bytes(lzma.decompress((HOMES / f"{name}.tar.xz").read_bytes()))
    return json.loads((HOMES / f"{name}.json").read_text()), folder / "home.tar"


@pytest.mark.parametrize("name", sorted(path.stem for path in HOMES.glob("schema-*.json")))
async def test_a_home_that_an_older_version_made_opens_with_all_that_is_in_it(name, tmp_path, start_home):
    wanted, made = frozen_home(name, tmp_path)
    report = restoring.verify(made, silent)
    assert report.damage == ()
    tables = wanted["tables"].keys() - {"meta"}  # which says that it was migrated
    assert {name: report.tables[name] for name in tables} == {name: wanted["tables"][name] for name in tables}
    assert report.tables["meta"] >= wanted["tables"]["meta"]
    restoring.restore(made, tmp_path / "home", NOW, identity=None, progress=silent)
    assert schema_of(tmp_path / "home" / "store") == SCHEMA
    async with start_home(tmp_path / "home", wanted["token"]) as running:
        assert sorted(each.name for each in await running.client.learnwares()) == wanted["learnwares"]
        assert [each.name for each in await running.client.federations()] == wanted["federations"]
        assert sorted(each.name for each in await running.client.tokens()) == wanted["tokens"]
        audited = await running.client.verify_audit()
        assert (audited.broken, audited.seq >= wanted["tables"]["audit"]) == (None, True)
    assert verification.verify_home(tmp_path / "home").damage == ()


@pytest.fixture
def inviting(tmp_path):
    """A home of schema 1 that has given out invites, and what is in it."""
    wanted, made = frozen_home("schema-1-invites", tmp_path)
    with tarfile.open(made) as file:
        file.extractall(tmp_path / "home", filter="data")
    return tmp_path / "home", wanted


def tokens_in(path, wanted):
    """Which of the invites' tokens the bytes of a file hold."""
    data = path.read_bytes()
    return {name for name, line in wanted["invites"].items() if read_invite(line).token in data}


async def test_an_invite_of_schema_1_still_lets_one_newcomer_in_and_its_token_is_in_the_store_no_more(
    inviting, start, start_home
):
    home, wanted = inviting
    assert tokens_in(home / "store" / "data.mdb", wanted) == {"open", "used", "expired"}
    newcomer, late = await start("newcomer", "late")
    async with start_home(home, wanted["token"]) as admin:
        (federation,) = await admin.client.federations()
        before = {
            each.id: (each.max_listings, each.used_by != "") for each in await admin.client.invites(federation.id)
        }
        assert before == {wanted["ids"]["open"]: (7, False), wanted["ids"]["used"]: (7, True)}
        for name, guest, joins in (("used", newcomer, False), ("open", newcomer, True), ("open", late, False)):
            made = read_invite(wanted["invites"][name])
            line = msgspec.structs.replace(made, addresses=admin.node.network.addresses).line()
            if joins:
                await guest.client.join(line)
                continue
            with pytest.raises(RemoteError, match="has been used") as refused:
                await guest.client.join(line)
            assert refused.value.code == "federation.invite"
        (noted,) = [row.subject for row in (await admin.client.audit()).items if row.subject.get("name") == "newcomer"]
        assert noted["invite"] == wanted["ids"]["open"]
    assert verification.verify_home(home).damage == ()
    assert tokens_in(home / "store" / "data.mdb", wanted) == set()
    assert schema_of(home / "store.schema-1") == 1
    assert tokens_in(home / "store.schema-1" / "data.mdb", wanted) == {"open", "used", "expired"}


def test_a_restored_backup_of_schema_1_has_its_invites_and_no_tokens_of_them(inviting, tmp_path):
    _, wanted = inviting
    restoring.restore(tmp_path / "home.tar", tmp_path / "new", NOW, identity=None, progress=silent)
    report = verification.verify_home(tmp_path / "new")
    assert (report.damage, report.tables["invites"]) == ((), wanted["tables"]["invites"])
    assert tokens_in(tmp_path / "new" / "store" / "data.mdb", wanted) == set()


async def test_a_node_migrates_its_store_at_the_start_says_so_and_keeps_the_old_one(old, newer, caplog):
    home, _ = old
    newer(RENAMING)
    with caplog.at_level(logging.WARNING, "atoll.store"):
        async with running(home) as node:
            assert [token.name for token in node.tokens.all()] == ["first admin, migrated"]
            assert node.store.marked(f"migrated_to_{NEXT}") is not None
    assert f"from schema {SCHEMA} to {NEXT}" in caplog.text
    assert schema_of(home / "store") == NEXT
    kept = home / f"store.schema-{SCHEMA}"
    assert str(kept) in caplog.text
    assert schema_of(kept) == SCHEMA
    assert verification.verify_home(home).damage == ()
    before = files(home)
    async with running(home):
        pass
    assert files(home) == before


def test_the_kept_store_put_back_is_that_of_before(old, newer, monkeypatch):
    home, _ = old
    newer(RENAMING)
    done = migrate(home / "store", NOW)
    assert names(home) == ["first admin, migrated"]
    (done.kept / "data.mdb").replace(home / "store" / "data.mdb")
    assert names(home) == ["first admin"]
    assert migrate(home / "store", NOW).before == SCHEMA


def fails(txn, tables):
    renamed(txn, tables)
    raise KeyError("name")


def scrambles(txn, tables):
    for key, _ in list(txn.cursor(db=tables("tokens"))):
        txn.put(bytes(key), b"\xc1", db=tables("tokens"))


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Step(NEXT, "fails", fails), "KeyError: 'name'"),
        (Step(NEXT, "scrambles", scrambles), "the migrated copy is not whole"),
        (Step(NEXT + 1, "is another's", renamed), "knows no way from there"),
    ],
    ids=lambda each: getattr(each, "words", None),
)
async def test_a_step_that_fails_leaves_the_old_store_and_the_node_does_not_start(old, newer, step, words):
    home, _ = old
    before, data = files(home), (home / "store" / "data.mdb").read_bytes()
    newer(step)
    with pytest.raises(StoreError, match=words) as refused:
        async with running(home):
            raise AssertionError("it must not start")
    assert "nothing was changed" in refused.value.hint
    assert (home / "store" / "data.mdb").read_bytes() == data
    assert files(home) == sorted({*before, "lock"})


def test_a_full_disk_is_named(old, newer):
    home, _ = old

    def full(txn, tables):
        raise lmdb.DiskError("mdb_txn_commit: No space left on device")

    newer(Step(NEXT, "fills the disk", full))
    with pytest.raises(StoreFull, match="no room to migrate"):
        migrate(home / "store", NOW)
    assert names(home) == ["first admin"]


def test_without_hard_links_the_old_store_is_kept_as_a_copy_or_else_nothing_is_changed(old, newer, monkeypatch):
    home, _ = old
    before, data = files(home), (home / "store" / "data.mdb").read_bytes()

    def no_links(*_):
        raise PermissionError(1, "Operation not permitted")

    def no_room(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", no_links)
    newer(RENAMING)
    with monkeypatch.context() as fuller:
        fuller.setattr(shutil, "copyfile", no_room)
        with pytest.raises(StoreError, match=r"cannot be kept as .*: No space left"):
            migrate(home / "store", NOW)
    assert (home / "store" / "data.mdb").read_bytes() == data
    done = migrate(home / "store", NOW)
    assert (done.kept / "data.mdb").read_bytes() == data
    assert names(home) == ["first admin, migrated"]
    assert files(home) == sorted([*before, done.kept.name])
    assert files(done.kept) == ["data.mdb"]


def test_a_step_that_needs_a_larger_map_gets_one(old, newer, monkeypatch):
    home, _ = old
    monkeypatch.setattr(environment, "MAP_SIZE", 1 << 20)

    def large(txn, tables):
        for number in range(40):
            txn.put(b"%d" % number, bytes(100_000), db=tables("another"))

    newer(Step(NEXT, "writes 4 MB", large))
    migrate(home / "store", NOW)
    assert (home / "store" / "data.mdb").stat().st_size > 4_000_000


KILLED = """
import os, signal, sys
from pathlib import Path
from atoll.node.store import environment, migration, steps, verification
environment.SCHEMA = verification.SCHEMA = {next}
def step(txn, tables):
    txn.put(b"half", b"done", db=tables("tokens"))
    if {where!r} == "step":
        os.kill(os.getpid(), signal.SIGKILL)
    txn.delete(b"half", db=tables("tokens"))
link = os.link
def linked(*arguments):
    link(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
if {where!r} == "exchange":
    os.link = linked
migration.migrate(Path(sys.argv[1]), 1, steps=(steps.Step({next}, "is killed", step),))
"""


@pytest.mark.parametrize("where", ["step", "exchange"])
async def test_a_node_that_is_killed_in_the_middle_migrates_at_the_next_start(old, newer, where):
    home, _ = old
    script = KILLED.format(next=NEXT, where=where)
    child = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script, str(home / "store")])
    assert child.returncode == -signal.SIGKILL
    assert names(home) == ["first admin"]
    newer(RENAMING)
    async with running(home) as node:
        assert [token.name for token in node.tokens.all()] == ["first admin, migrated"]
    assert not [name for name in files(home) if "migrating" in name]
    assert names(home) == ["first admin, migrated"]


async def test_a_killed_node_of_the_version_before_is_verified_then_migrated(old, newer):
    home, _ = old
    (home / "running").write_text("1\n")
    newer(RENAMING)
    async with running(home) as node:
        assert [token.name for token in node.tokens.all()] == ["first admin, migrated"]


def test_commands_that_only_read_an_old_store_read_a_copy_and_change_nothing(old, newer):
    home, _ = old
    data = (home / "store" / "data.mdb").read_bytes()
    newer(RENAMING)
    report = verification.verify_home(home)
    assert (report.damage, report.tables["tokens"]) == ((), 1)
    with pytest.raises(StoreError, match="writes") as refused:
        backup.offline(home, home.parent / "b.tar", NOW, with_key=True, progress=silent)
    assert "`atoll serve` migrates it" in refused.value.hint
    assert (home / "store" / "data.mdb").read_bytes() == data


def test_a_backup_of_the_version_before_is_migrated_as_it_is_restored(old, newer):
    home, _ = old
    backup.offline(home, home.parent / "b.tar", NOW, with_key=True, progress=silent)
    newer(RENAMING)
    assert restoring.verify(home.parent / "b.tar", silent).damage == ()
    restoring.restore(home.parent / "b.tar", home.parent / "new", NOW, identity=None, progress=silent)
    assert names(home.parent / "new") == ["first admin, migrated"]
    assert not [name for name in files(home.parent / "new") if name.startswith("store.")]


def test_the_version_before_refuses_a_migrated_store(old):
    home, _ = old
    with pytest.MonkeyPatch.context() as later:
        for module in (environment, verification):
            later.setattr(module, "SCHEMA", NEXT)
        migrate(home / "store", NOW, steps=(RENAMING,))
    with pytest.raises(StoreTooNew, match=str(NEXT)):
        Store(home / "store")
    for command in (["serve"], ["verify"], ["backup", str(home.parent / "b.tar")]):
        result = CliRunner().invoke(cli, [*command, "--home", str(home)])
        assert outcome(result.exception.code).exit_code == 21, command
    assert names(home) == ["first admin, migrated"]


@pytest.mark.slow
async def test_a_home_of_this_version_can_be_frozen(federated, publish, digits, changed, tmp_path):
    """Writes into ``tmp_path`` what ``homes/`` holds; by hand, once for each schema that was released."""
    (one, two, third), federation = await federated("Harbour Clinic", "South Post", "North University")
    asked = Policy(predict=Rule("ask"), disclose=Rule("members", peers=(two.node.identity.peer,)))
    await publish(one, federation, Offers(predict="members"), 0, 1)
    granted = await publish(one, federation, asked, 4, 5)
    shared = Policy(predict=Rule("ask"), disclose=Rule("members"), download=Rule("members"))
    other = await publish(two, federation, shared, 2, 3)
    await one.client.create_token("a colleague", ("read", "predict"), None)
    await one.client.invite(federation)
    await one.client.add_peer_rule("deny", Identity.of(Ed25519PrivateKey.generate()).peer)
    owners = bytes.fromhex(federation), one.node.identity.public, two.node.identity.public
    await changed(two, lambda: len(two.node.catalogue.of_owner(*owners[:2])) == 2)
    await changed(one, lambda: len(one.node.catalogue.of_owner(owners[0], owners[2])) == 1)
    await two.client.ask(granted, ("predict",), "for a study")
    await one.client.grant((await one.client.requests())[0].id)
    await one.client.ask(other, ("predict",), "for another")
    found = await two.client.search_rows(digits.of(0, 1))
    await two.client.predict(found.search_id, digits.of(0, 1), send=True)
    rows = digits.of(2, 3).values.astype(np.float32)
    await one.client.spend_privacy("digits", rows, digits.island(), 1.0, 1e-5)
    (tmp_path / "fetched").mkdir()
    await one.client.fetch([other], folder=tmp_path / "fetched")
    await one.client.revoke(federation, third.node.identity.peer)
    tables = await freeze(one, tmp_path)
    assert {name for name, count in tables.items() if not count} <= RARE


@pytest.mark.slow
async def test_a_home_with_invites_that_outlast_it_can_be_frozen(start, tmp_path):
    """As :func:`test_a_home_of_this_version_can_be_frozen`, for ``homes/schema-*-invites``."""
    admin, first = await start("admin", "first")
    federation = (await admin.client.create_federation("Bay")).id
    inviting = partial(admin.node.administration.invite, bytes.fromhex(federation), (), made_by="first admin")
    lasting = {name: inviting(now_ms(), 36_525 * limits.DAY, max_listings=7).line() for name in ("open", "used")}
    made = read_invite(lasting["used"])
    used = msgspec.structs.replace(made, addresses=admin.node.network.addresses)
    await first.client.join(used.line())
    expired = inviting(now_ms() - limits.DAY, limits.MINUTE).line()
    ids = {each.used_by_name: each.id for each in await admin.client.invites(federation)}
    await freeze(admin, tmp_path, invites={**lasting, "expired": expired}, ids={"open": ids[""], "used": ids["first"]})


async def freeze(running, folder, **more):
    """Write ``home.tar.xz`` and what is in it, ``home.json``; the rows by table."""
    await running.client.backup(folder / "home.tar")
    tables = restoring.verify(folder / "home.tar", silent).tables
    wanted = {
        "token": running.token, "tables": tables, "tokens": sorted(each.name for each in await running.client.tokens()),
        "learnwares": sorted(each.name for each in await running.client.learnwares()),
        "federations": [each.name for each in await running.client.federations()],
    } | more  # fmt: skip
    (folder / "home.json").write_text(json.dumps(wanted, indent=1) + "\n")
    (folder / "home.tar.xz").write_bytes(lzma.compress((folder / "home.tar").read_bytes(), preset=9))
    return tables
