"""A few rows of a store, read by a process of its own beside whoever has it open: what a check-up wants to know."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import lmdb
import msgspec
from atoll.node.errors import StoreError
from atoll.node.store.aside import last_words
from atoll.node.store.environment import Transaction
from atoll.node.store.federations import FederationRow
from atoll.node.store.migration import MAX_TABLES
from atoll.protocol.heads import Head
from atoll.protocol.membership import Certificate, Charter
from atoll.protocol.signing import Record

SECONDS = 30.0
T = TypeVar("T")


class Glance(msgspec.Struct, frozen=True):
    """``used`` and ``map_size`` in bytes; ``newest`` is when the newest head was signed, ms; ``federations`` are names
    and until when (ms) the node is a member."""

    schema: int
    used: int
    map_size: int
    newest: int
    federations: tuple[tuple[str, int], ...]


def glance(folder: Path) -> Glance:
    """StoreError where there is no store, or it cannot be read."""
    if not (folder / "data.mdb").is_file():
        raise StoreError(f"there is no store in {folder}")
    command = [sys.executable, "-P", "-m", __name__, str(folder.resolve())]
    try:
        child = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise StoreError(f"the store could not be read in {SECONDS:.0f} s") from None
    if child.returncode:
        shown = last_words(child.stderr)
        raise StoreError(f"the store is damaged: reading it ended with {child.returncode}: {shown or 'no word'}")
    return msgspec.json.decode(child.stdout, type=Glance)


def _read(folder: Path) -> Glance:
    with lmdb.open(str(folder), readonly=True, create=False, max_dbs=MAX_TABLES) as env, env.begin() as txn:
        meta = env.open_db(b"meta", txn=txn, create=False)
        row, info = txn.get(b"schema", db=meta), env.info()
        heads = (_body(record, Head).issued_at for record in _rows(env, txn, "heads", Record))
        newest = max(heads, default=0)
        member = [
            (_body(row.charter, Charter).name, _body(row.certificate, Certificate).expires_at)
            for row in _rows(env, txn, "federations", FederationRow)
        ]
        used = (info["last_pgno"] + 1) * env.stat()["psize"]
        return Glance(int(row or 0), used, info["map_size"], newest, tuple(member))


def _rows(env: lmdb.Environment, txn: Transaction, name: str, type_: type[T]) -> Iterator[T]:
    try:
        table = env.open_db(name.encode(), txn=txn, create=False)
    except lmdb.NotFoundError:
        return
    for _, raw in txn.cursor(db=table):
        yield msgspec.msgpack.decode(bytes(raw), type=type_)


def _body(record: Record, type_: type[T]) -> T:
    return msgspec.msgpack.decode(record.body, type=type_)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout.write(msgspec.json.encode(_read(Path(sys.argv[1]))).decode())
