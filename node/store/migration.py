"""Stores of older versions: made into what this version writes, step by step, without ever touching the old one.

A copy is migrated, every step in one transaction, and copied again without what the steps have removed; it is read as
after a crash; and only then it takes the place of the old store, in one rename. So a store is at every moment the old
one or the new one, whole, and a step that fails, or a power cut in its middle, leaves the old one as it was. That stays
as ``store.schema-<n>``, to go back with.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import lmdb
from atoll.engine.folders import fsync_folder
from atoll.node.errors import StoreError, StoreFull
from atoll.node.store import environment
from atoll.node.store.steps import STEPS, Step, Tables

log = logging.getLogger("atoll.store")
DATA = "data.mdb"
MAX_TABLES = 256
MARK = "migrated_to_"  # in "meta": when, in ms


class Migrated(NamedTuple):
    """What was done: the schemas before and after, and where the old store is now."""

    before: int
    after: int
    kept: Path


def schema_of(folder: Path) -> int:
    """The schema of a store that nobody writes to, 0 where there is none. Reads one row, so it may be asked of a store
    that was not verified only in a process that may end."""
    if not (folder / DATA).exists():
        return 0
    with _opened(folder, readonly=True) as env, env.begin() as txn:
        try:
            meta = env.open_db(b"meta", txn=txn, create=False)
        except lmdb.NotFoundError:
            return 0
        row = txn.get(b"schema", db=meta)
        return 0 if row is None else int(row)


def migrate(folder: Path, now: int, *, steps: Sequence[Step] | None = None) -> Migrated | None:
    """Bring the store of ``folder`` to the schema of this version; None where there is nothing to do. The caller holds
    the home's lock. Returns after fsync; StoreError says what went wrong, and then nothing was changed."""
    from atoll.node.store.verification import read_store

    for left in folder.parent.glob(f".{folder.name}.migrating-*"):  # by a migration that was killed
        shutil.rmtree(left, ignore_errors=True)
    before = schema_of(folder)
    if before == 0 or before >= environment.SCHEMA:
        return None
    with migrated_copy(folder, now, steps=steps) as copy:
        damage = read_store(copy, deep=False).damage
        if damage:
            raise _failed(before, f"the migrated copy is not whole: {'; '.join(damage[:3])}")
        kept = folder.with_name(f"{folder.name}.schema-{before}")
        try:
            _exchange(folder / DATA, copy / DATA, kept)
        except OSError as error:
            raise _failed(before, f"the old one cannot be kept as {kept}: {error.strerror}") from None
    return Migrated(before, environment.SCHEMA, kept)


@contextmanager
def migrated_copy(folder: Path, now: int, *, steps: Sequence[Step] | None = None) -> Iterator[Path]:
    """A folder beside the store with a copy of it in the schema of this version; gone after the block. What a step has
    removed is in none of its pages: it may have been a secret."""
    before = schema_of(folder)
    todo = _way(before, STEPS if steps is None else steps)
    try:
        staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.migrating-"))
    except OSError as error:
        raise _failed(before, f"no copy can be made: {error.strerror}") from None
    try:
        copy = staging / "copy"
        _guarded(before, copy.mkdir)
        with _opened(folder, readonly=True) as env:
            _guarded(before, lambda: env.copy(str(copy), compact=True))
        with _opened(copy, readonly=False) as env:
            _guarded(before, lambda: _run(env, todo, now))
            _guarded(before, lambda: env.copy(str(staging), compact=True))
        shutil.rmtree(copy)
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def tell(done: Migrated) -> None:
    """Say on the log what was done, and how to go back."""
    log.warning(
        "the store was migrated from schema %d to %d; the old one is kept as %s: delete it when all is well, or put it "
        "back in place of store to go back to the Atoll that wrote it", done.before, done.after, done.kept,
    )  # fmt: skip


def _way(before: int, steps: Sequence[Step]) -> list[Step]:
    todo = [step for step in steps if step.to > before]
    if [step.to for step in todo] != list(range(before + 1, environment.SCHEMA + 1)):
        raise _failed(before, f"this Atoll knows no way from there to {environment.SCHEMA}")
    return todo


def _run(env: lmdb.Environment, todo: Sequence[Step], now: int) -> None:
    """All steps or none; the map grows as often as it must."""
    while True:
        try:
            with env.begin(write=True) as txn:
                tables: Tables = lambda name: env.open_db(name.encode(), txn=txn)  # noqa: E731 - of this transaction
                for step in todo:
                    step.run(txn, tables)
                    txn.put(f"{MARK}{step.to}".encode(), str(now).encode(), db=tables("meta"))
                txn.put(b"schema", str(environment.SCHEMA).encode(), db=tables("meta"))
                for name in environment.TABLES:
                    tables(name)
            return
        except lmdb.MapFullError:
            env.set_mapsize(env.info()["map_size"] * 2)


def _guarded(before: int, work: Callable[[], None]) -> None:
    try:
        work()
    except lmdb.Error as error:
        if environment.no_room(error):
            raise StoreFull(
                f"no room to migrate the store from schema {before}: {error}",
                hint="nothing was changed; free twice as many bytes as the store has, and start again",
            ) from None
        raise _failed(before, str(error)) from None
    except Exception as error:  # a step met a row that it cannot make sense of
        raise _failed(before, f"{type(error).__name__}: {error}") from error


def _exchange(old: Path, new: Path, kept: Path) -> None:
    """``new`` in place of ``old``, durably; ``old`` is ``kept/data.mdb`` too before it goes from its place, as a copy
    where the file system has no hard links."""
    with new.open("rb") as file:
        os.fsync(file.fileno())
    kept.mkdir(exist_ok=True, mode=0o700)
    (kept / DATA).unlink(missing_ok=True)  # of a migration that was undone by hand
    try:
        os.link(old, kept / DATA)
    except OSError:
        _copy(old, kept / DATA)
    fsync_folder(kept)
    os.replace(new, old)
    fsync_folder(old.parent)
    fsync_folder(kept.parent)


def _copy(old: Path, kept: Path) -> None:
    """Under its name only once it is whole."""
    part = kept.with_name(f".{kept.name}")
    try:
        shutil.copyfile(old, part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(kept)
    except OSError:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def _opened(folder: Path, *, readonly: bool) -> Iterator[lmdb.Environment]:
    """LMDB without a lock file: the caller has the home's lock, or a folder of its own."""
    try:
        env = lmdb.open(
            str(folder), map_size=environment.MAP_SIZE, max_dbs=MAX_TABLES, readonly=readonly, lock=not readonly,
            create=not readonly,
        )  # fmt: skip
    except lmdb.Error as error:
        raise StoreError(f"the store in {folder} cannot be opened: {error}") from None
    with closing(env):
        yield env


def _failed(before: int, words: str) -> StoreError:
    return StoreError(
        f"the store is of schema {before} and was not migrated: {words}",
        hint="nothing was changed: run the Atoll that wrote it, back it up with `atoll backup`, and report this",
    )
