"""Homes that are backed up and restored, and what is in them."""

import asyncio

import lmdb
from atoll.node.cli.main import cli
from atoll.node.store import restoring
from atoll.node.store.dock import DockRow
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


async def invoke(*arguments):
    """A command in a thread of its own, as it runs an event loop of its own."""
    result = await asyncio.to_thread(CliRunner().invoke, cli, list(map(str, arguments)))
    assert result.exit_code == 0, (result.output, result.exception)
    return result
