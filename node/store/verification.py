"""Is a store, or a whole home, what it should be? Nothing is changed by asking.

LMDB maps its file, so reading a damaged one can end the process (SIGBUS): it is read in a process of its own, which is
this module run with ``python -m``, under a deadline; that the process ends is a finding like any other. Its pages have
no checksums: a bit that flips within a row is found if the row no longer decodes or is signed, not otherwise. Backups
have a hash of everything.
"""

from __future__ import annotations

import hashlib
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import msgspec
from atoll.engine.errors import AtollError, IntegrityError
from atoll.node import identity as identities
from atoll.node.errors import ConfigError, StoreError, StoreTooNew
from atoll.node.store import rows
from atoll.node.store.aside import last_words, printable
from atoll.node.store.backup_file import Progress, blob_name
from atoll.node.store.environment import SCHEMA, TABLES
from atoll.node.store.migration import migrated_copy

SECONDS, BYTES_PER_SECOND = 60.0, 5e6  # a store of 1 GB may take 260 s
MAX_DAMAGE = 100


class Contents(msgspec.Struct, frozen=True):
    """What reading a store found: rows by table, the blobs (hex) they name, those that may be missing (``cached``), and
    in words what is damaged."""

    schema: int = 0
    tables: dict[str, int] = {}
    blobs: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True):
    """What was verified: rows by table, blobs and their bytes; ``damage`` is empty if all of it is whole."""

    peer_id: str
    tables: dict[str, int]
    blobs: int
    bytes: int
    damage: tuple[str, ...]

    def require_whole(self) -> None:
        """IntegrityError unless nothing is damaged."""
        if self.damage:
            more = f"; and {len(self.damage) - 3} more" if len(self.damage) > 3 else ""
            raise IntegrityError("; ".join(self.damage[:3]) + more, hint="restore a backup with `atoll restore`")


def read_store(folder: Path, *, deep: bool) -> Contents:
    """What is in a store that nobody writes to; ``deep`` checks signatures too. Of an older schema a migrated copy is
    read. StoreTooNew for one of the future."""
    contents = _read_aside(folder, deep)
    if contents.schema > SCHEMA:
        raise StoreTooNew(f"the store has schema {contents.schema}, this Atoll knows up to {SCHEMA}")
    if contents.damage or contents.schema in (0, SCHEMA):
        return contents
    with migrated_copy(folder, 0) as copy:
        return _read_aside(copy, deep)


def _read_aside(folder: Path, deep: bool) -> Contents:
    file = folder / "data.mdb"
    if not file.is_file():
        return Contents(damage=(f"there is no store: {file} is missing",))
    seconds = SECONDS + file.stat().st_size / BYTES_PER_SECOND
    command = [sys.executable, "-P", "-m", __name__, str(folder.resolve()), "deep" if deep else "quick", str(SCHEMA)]
    try:
        child = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return Contents(damage=(f"the store could not be read in {seconds:.0f} s",))
    if child.returncode < 0:
        return Contents(damage=(f"the store is damaged: reading it ended in {signal.Signals(-child.returncode).name}",))
    if child.returncode:
        return Contents(damage=(f"the store could not be read: {last_words(child.stderr)}",))
    return msgspec.json.decode(child.stdout, type=Contents)


def verify_home(home: Path, *, deep: bool = True, progress: Progress | None = None) -> Report:
    """Read every row and blob of a home in which no node runs; without ``deep`` blobs need only be there."""
    damage = []
    try:
        peer: str = identities.load(home).peer
    except ConfigError as error:
        peer = ""
        damage.append(error.message)
    contents = read_store(home / "store", deep=deep)
    cached = [digest for digest in contents.cached if (home / blob_name(digest)).exists()]
    blobs, size = (*contents.blobs, *cached), 0
    for done, digest in enumerate(blobs):
        path = home / blob_name(digest)
        try:
            size += path.stat().st_size
            if deep and _hash(path) != digest:
                damage.append(f"blob {digest} has changed")
        except OSError as error:
            damage.append(f"blob {digest} cannot be read: {error.strerror}")
        if progress:
            progress(done + 1, len(blobs))
    return Report(peer, contents.tables, len(blobs), size, (*contents.damage, *damage))


def verify_after_crash(home: Path) -> None:
    """StoreError unless a home that was not closed cleanly can be opened: rows decode, blobs are there."""
    try:
        verify_home(home, deep=False).require_whole()
    except IntegrityError as error:
        raise StoreError(
            f"the node was not closed cleanly, and its home {home} is damaged: {error.message}",
            hint="restore a backup with `atoll restore`; `atoll verify --home` lists all damage",
        ) from None


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Reading:
    """The child's side: reads all it can, and gathers what is wrong. Rows of another schema are counted only."""

    def __init__(self, deep: bool, known: int) -> None:
        self._deep = deep
        self._known = known
        self.schema = 0
        self.tables: dict[str, int] = {}
        self.blobs: set[bytes] = set()
        self.cached: set[bytes] = set()
        self.damage: list[str] = []

    def contents(self) -> Contents:
        blobs, cached = (
            tuple(sorted(digest.hex() for digest in digests)) for digests in (self.blobs, self.cached - self.blobs)
        )
        return Contents(self.schema, self.tables, blobs, tuple(map(printable, self.damage[:MAX_DAMAGE])), cached)

    def read(self, folder: Path) -> None:
        with self._finding("the store"):
            env = lmdb.open(str(folder), readonly=True, lock=False, create=False, max_dbs=2 * len(TABLES))
            with env.begin() as txn:
                found = {bytes(name).decode("utf-8", "replace") for name, _ in txn.cursor()}
                missing, strange = sorted(set(TABLES) - found), sorted(found - set(TABLES))
                if missing and strange:  # one of them alone is another version's
                    self.damage.append(f"tables {strange} stand where {missing} are missing")
                for name in sorted(found & set(TABLES), key=lambda name: (name != "meta", name)):
                    with self._finding(f"table {name}"):
                        self._read_table(txn, name, env.open_db(name.encode(), txn=txn, create=False))
            with open("/dev/null", "wb") as nowhere:  # a copy visits every page, and counts them
                env.copyfd(nowhere.fileno(), compact=True)

    def _read_table(self, txn: lmdb.Transaction, name: str, handle: Any) -> None:
        count, previous = 0, b""
        for key, raw in ((bytes(key), bytes(raw)) for key, raw in txn.cursor(db=handle)):
            if count and key <= previous:
                self.damage.append(f"table {name}: keys are out of order")
            count, previous = count + 1, key
            with self._finding(f"table {name}, row {key.hex()}"):
                self._read_row(name, key, raw)
        if count != txn.stat(handle)["entries"]:
            self.damage.append(f"table {name}: {count} rows where {txn.stat(handle)['entries']} should be")
        self.tables[name] = count

    def _read_row(self, table: str, key: bytes, raw: bytes) -> None:
        if table == "meta":  # numbers as text
            number = int(raw)
            self.schema = number if key == b"schema" else self.schema
            return
        if self.schema != self._known:
            return
        row = rows.decode(table, raw)
        self.blobs.update(rows.blobs_of(row))
        self.cached.update(rows.cached_by(row))
        if self._deep:
            rows.check(table, key, row)

    @contextmanager
    def _finding(self, what: str) -> Iterator[None]:
        try:
            yield
        except (AtollError, ValueError, lmdb.Error, MemoryError) as error:
            self.damage.append(f"{what} is damaged: {error or type(error).__name__}")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    reading = _Reading(deep=sys.argv[2] == "deep", known=int(sys.argv[3]))
    reading.read(Path(sys.argv[1]))
    sys.stdout.write(msgspec.json.encode(reading.contents()).decode())
