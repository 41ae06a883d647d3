"""The LMDB environment: one writer thread that groups commits, typed tables, a schema row.

A write is acknowledged after its commit is on disk. Reads are short transactions of their own, never held across
an await. The map grows when it is full (testing: LMDB).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Generic, NamedTuple, TypeVar

import lmdb
from atoll.engine.encoding import pack, unpack
from atoll.node.errors import StoreError, StoreFull, StoreTooNew

SCHEMA = 2
MAP_SIZE = 1 << 30
MAX_MAP_SIZE = 1 << 38
GROUP_SECONDS, GROUP_OPERATIONS = 0.005, 64
GROW_SECONDS = 60.0
MAX_VALUE = 1 << 20
TABLES = (
    "meta",
    "heads",
    "listings",
    "islands",
    "dock",
    "federations",
    "invites",
    "peers",
    "peer_rules",
    "tokens",
    "members",
    "downloads",
    "privacy",
    "decrees",
    "successions",
    "forks",
    "audit",
    "policies",
    "requests",
    "asked",
    "usage",
    "submissions",
    "admitted_code",
    "stand_ins",
    "sightings",
)

Transaction = lmdb.Transaction


class TableSpace(NamedTuple):
    """How many rows a table has, and how many bytes its pages take."""

    rows: int
    bytes: int


class Space(NamedTuple):
    """What a store takes: bytes of its file that are in use or were, of the map it may fill before that grows, and the
    most it may ever take; by table, the largest first."""

    used: int
    mapped: int
    most: int
    tables: dict[str, TableSpace]


T = TypeVar("T")
R = TypeVar("R")
_Job = tuple[Callable[[Any], Any], "Future[Any]"]


class Store:
    """An open store. Thread-safe; one per home and process."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        try:
            self._env = lmdb.open(str(path), map_size=MAP_SIZE, max_dbs=len(TABLES), max_readers=512)
        except lmdb.Error as error:
            raise StoreError(f"the store in {path} cannot be opened: {error}") from None
        self._tables = {name: self._env.open_db(name.encode()) for name in TABLES}
        self._check_schema(path)
        self._views = 0
        self._viewing = threading.Condition()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._run, name="atoll-store", daemon=True)
        self._writer.start()

    def write(self, operation: Callable[[lmdb.Transaction], R]) -> Future[R]:
        """Run ``operation`` in the writer thread; the future resolves after the commit, or with its error.

        An operation that raises leaves nothing behind; others of its group are not touched.
        """
        future: Future[R] = Future()
        self._jobs.put((operation, future))
        return future

    @contextmanager
    def view(self) -> Iterator[lmdb.Transaction]:
        """A read transaction; keep it short: while it is open the file keeps what it sees, and the map cannot grow."""
        with self._viewing:
            self._views += 1
        try:
            with self._env.begin() as txn:
                yield txn
        finally:
            with self._viewing:
                self._views -= 1
                self._viewing.notify_all()

    def copy(self, txn: lmdb.Transaction, file: IO[bytes]) -> None:
        """Write the store as ``txn`` sees it, without free pages, to an open file; blocks for as long as that takes."""
        try:
            self._env.copyfd(file.fileno(), compact=True, txn=txn)
        except lmdb.Error as error:
            raise _failure(error, "the store was not copied") from None

    def mark(self, name: str, now: int) -> None:
        """Write ``now`` (ms, as text) under ``name`` into "meta"; returns after commit."""
        self.write(lambda txn: txn.put(name.encode(), str(now).encode(), db=self._tables["meta"])).result()

    def marked(self, name: str) -> int | None:
        """What :meth:`mark` wrote under ``name``, None if nothing."""
        with self.view() as txn:
            found = txn.get(name.encode(), db=self._tables["meta"])
        return None if found is None else int(found)

    def unmark(self, name: str) -> None:
        """Forget a mark; returns after commit."""
        self.write(lambda txn: txn.delete(name.encode(), db=self._tables["meta"])).result()

    def space(self) -> Space:
        """What it takes now."""
        info, size = self._env.info(), self._env.stat()["psize"]
        with self.view() as txn:
            stats = {name: txn.stat(db) for name, db in self._tables.items()}
        tables = {
            name: TableSpace(
                each["entries"], size * (each["branch_pages"] + each["leaf_pages"] + each["overflow_pages"])
            )
            for name, each in stats.items()
        }
        largest_first = dict(sorted(tables.items(), key=lambda item: -item[1].bytes))
        return Space(size * (info["last_pgno"] + 1), info["map_size"], MAX_MAP_SIZE, largest_first)

    def release(self) -> None:
        """Give back the memory of the pages that were read, by mapping the file anew: for after reading all of it at
        the start, while nobody writes yet."""
        with self._viewing:
            if self._viewing.wait_for(lambda: self._views == 0, GROW_SECONDS):
                self._env.set_mapsize(self._env.info()["map_size"])

    def table(self, name: str, type_: type[T]) -> Table[T]:
        return Table(self._tables[name], type_)

    def close(self) -> None:
        """Commit what is queued, then close."""
        self._jobs.put(None)
        self._writer.join()
        self._env.close()

    def _check_schema(self, path: Path) -> None:
        with self._env.begin(write=True) as txn:
            row = txn.get(b"schema", db=self._tables["meta"])
            if row is None:
                txn.put(b"schema", str(SCHEMA).encode(), db=self._tables["meta"])
            elif int(row) != SCHEMA:
                self._env.close()
                raise _other_schema(path, int(row))

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            group, stop = self._group(job)
            self._commit(group)
            if stop:
                return

    def _group(self, first: _Job) -> tuple[list[_Job], bool]:
        group = [first]
        while len(group) < GROUP_OPERATIONS:
            try:
                job = self._jobs.get(timeout=GROUP_SECONDS)
            except queue.Empty:
                break
            if job is None:
                return group, True
            group.append(job)
        return group, False

    def _commit(self, group: list[_Job]) -> None:
        while True:
            try:
                results = self._attempt(group)
            except lmdb.MapFullError:
                try:
                    self._grow()
                except StoreError as error:
                    _fail(group, error)
                    return
                continue
            except lmdb.Error as error:
                _fail(group, _failure(error, "the write was not stored"))
                return
            for (_, future), (value, error_) in zip(group, results, strict=True):
                if error_ is None:
                    future.set_result(value)
                else:
                    future.set_exception(error_)
            return

    def _attempt(self, group: list[_Job]) -> list[tuple[Any, Exception | None]]:
        results: list[tuple[Any, Exception | None]] = []
        with self._env.begin(write=True) as txn:
            for operation, _ in group:
                child = self._env.begin(write=True, parent=txn)
                try:
                    value = operation(child)
                    child.commit()
                    results.append((value, None))
                except lmdb.MapFullError:
                    child.abort()
                    raise
                except Exception as error:  # the operation's own failure: handed to its caller
                    child.abort()
                    results.append((None, error))
        return results

    def _grow(self) -> None:
        """Double the map, once nobody reads: what a view sees would be unmapped under it."""
        size = self._env.info()["map_size"] * 2
        if size > MAX_MAP_SIZE:
            raise StoreFull("the store has reached its largest size")
        with self._viewing:
            if not self._viewing.wait_for(lambda: self._views == 0, GROW_SECONDS):
                raise StoreError("the store could not grow, it was being read all the time")
            self._env.set_mapsize(size)


class Table(Generic[T]):
    """A named table of msgpack values of one type; every method takes the transaction it works in."""

    def __init__(self, handle: Any, type_: type[T]) -> None:
        self._handle = handle
        self._type = type_

    def get(self, txn: lmdb.Transaction, key: bytes) -> T | None:
        row = txn.get(key, db=self._handle)
        return None if row is None else unpack(bytes(row), self._type, limit=MAX_VALUE)

    def put(self, txn: lmdb.Transaction, key: bytes, value: T) -> None:
        txn.put(key, pack(value), db=self._handle)

    def delete(self, txn: lmdb.Transaction, key: bytes) -> bool:
        return bool(txn.delete(key, db=self._handle))

    def scan(self, txn: lmdb.Transaction, prefix: bytes = b"") -> Iterator[tuple[bytes, T]]:
        """Rows whose key starts with ``prefix``, in key order."""
        for key, row in self.undecoded(txn, prefix):
            yield key, unpack(row, self._type, limit=MAX_VALUE)

    def undecoded(self, txn: lmdb.Transaction, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """As :meth:`scan`, for whoever decodes on its own."""
        for key, row in self.raw(txn, prefix):
            if not key.startswith(prefix):
                return
            yield key, row

    def clear(self, txn: lmdb.Transaction, prefix: bytes) -> None:
        """Delete every row whose key starts with ``prefix``."""
        for key in [key for key, _ in self.undecoded(txn, prefix)]:
            self.delete(txn, key)

    def raw(self, txn: lmdb.Transaction, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys from ``start`` on and their undecoded rows, for what is hashed as it stands."""
        with txn.cursor(db=self._handle) as cursor:
            if cursor.set_range(start):
                for key, row in cursor:
                    yield bytes(key), bytes(row)

    def last(self, txn: lmdb.Transaction) -> tuple[bytes, bytes] | None:
        """The greatest key and its undecoded row."""
        with txn.cursor(db=self._handle) as cursor:
            return (bytes(cursor.key()), bytes(cursor.value())) if cursor.last() else None


def _other_schema(path: Path, schema: int) -> StoreError:
    if schema > SCHEMA:
        return StoreTooNew(
            f"the store in {path} has schema {schema}, this Atoll knows up to {SCHEMA}",
            hint="run the newer Atoll that wrote it",
        )
    return StoreError(
        f"the store in {path} has schema {schema}, this Atoll writes {SCHEMA}",
        hint="`atoll serve` migrates it, and keeps the old one beside it",
    )


def no_room(error: lmdb.Error) -> bool:
    """Whether the disk is full, which LMDB says in words only."""
    return "No space left" in str(error)


def _failure(error: lmdb.Error, words: str) -> StoreError:
    """StoreFull where the disk is, with ``words`` of what was not done."""
    return (StoreFull if no_room(error) else StoreError)(f"{words}: {error}")


def _fail(group: list[_Job], error: Exception) -> None:
    for _, future in group:
        future.set_exception(error)
