"""The cache of packages fetched from their owners, by revision: what was not used for longest makes room for others.

The files are blobs, shared with the dock and with each other, so one goes only when no row names it. What is in use, or
on its way here, is never removed. Rows are deleted before their files, so that no row names what is gone.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import msgspec
from atoll.engine.errors import AtollError, IntegrityError
from atoll.engine.packages import Package, open_package
from atoll.node.errors import CacheFull, NodeBusy
from atoll.node.store.blobs import BlobStore, require_hash
from atoll.node.store.dock import DockRow
from atoll.node.store.environment import Store, Transaction
from atoll.node.store.partial import Partial, forget_old
from atoll.protocol.errors import NotFound

TOUCH = 60_000  # ms within which a download that is used again is not written anew


class DownloadRow(msgspec.Struct, frozen=True):
    """A fetched package: blobs of its manifest, its model and of itself, the bytes of all three, whose it is, and when
    it was fetched and last used (ms)."""

    manifest: bytes
    model: bytes
    package: bytes = b""
    size: int = 0
    package_size: int = 0
    learnware_id: bytes = b""
    owner: bytes = b""
    name: str = ""
    fetched_at: int = 0
    used_at: int = 0

    @property
    def blobs(self) -> tuple[bytes, ...]:
        return self.manifest, self.model, *((self.package,) if self.package else ())


class DownloadCache:
    """Thread-safe; blocking."""

    def __init__(self, store: Store, blobs: BlobStore, quota: int, now: Callable[[], int]) -> None:
        self._store = store
        self._blobs = blobs
        self._quota = quota
        self._now = now
        self._rows = store.table("downloads", DownloadRow)
        self._dock = store.table("dock", DockRow)
        self._removing = threading.Lock()  # one at a time; it may have to wait
        self._lock = threading.Lock()  # of what follows; never held for long
        self._used: Counter[bytes] = Counter()
        self._coming: dict[bytes, int] = {}  # room that is kept for what is on its way
        self._going: set[bytes] = set()
        forget_old(blobs)
        self._drop_broken()

    def find(self, revision: bytes) -> DownloadRow | None:
        """None for one that is being removed, too."""
        with self._lock:  # first: what is used from before on cannot begin to go afterwards
            if revision in self._going:
                return None
        with self._store.view() as txn:
            return self._rows.get(txn, revision)

    def all(self) -> list[tuple[bytes, DownloadRow]]:
        """By revision; what was used last comes first."""
        with self._store.view() as txn:
            return sorted(self._rows.scan(txn), key=lambda item: -item[1].used_at)

    @contextmanager
    def used(self, revision: bytes) -> Iterator[None]:
        """Within the block the download is not removed, if it is there or comes."""
        with self._lock:
            self._used[revision] += 1
        try:
            yield
        finally:
            with self._lock:
                self._used[revision] -= 1
                if not self._used[revision]:
                    del self._used[revision]

    def touch(self, revision: bytes, row: DownloadRow) -> None:
        """It is used now; written without waiting."""
        now = self._now()
        if now - row.used_at >= TOUCH:
            self._store.write(partial(self._replace, revision, msgspec.structs.replace(row, used_at=now)))

    @contextmanager
    def coming(self, revision: bytes) -> Iterator[Callable[[int], None]]:
        """Within the block a package is on its way; the function that comes with it keeps room for one of so many bytes
        and for what is taken out of it, or raises CacheFull."""
        try:
            yield lambda size: self._keep_room(revision, 2 * size)
        finally:
            with self._lock:
                self._coming.pop(revision, None)

    def take_in(self, revision: bytes, growing: Partial, *, learnware_id: bytes, owner: bytes) -> DownloadRow:
        """Check a download that has all its bytes, and keep it, durably. IntegrityError or PackageError if it is not
        the package of this revision; then nothing of it stays."""
        assert growing.path is not None
        try:
            require_hash(growing.path, growing.promised)
            with open_package(growing.path, specifications=False) as package:
                if package.revision != revision:
                    raise IntegrityError("the package is not the revision that its listing names")
                with self._blobs.claiming():
                    row = self._put(package, growing, learnware_id, owner)
                    self._store.write(lambda txn: self._rows.put(txn, revision, row)).result()
        except AtollError:
            growing.discard()
            raise
        return row

    def _put(self, package: Package, growing: Partial, learnware_id: bytes, owner: bytes) -> DownloadRow:
        assert growing.path is not None
        size, now = growing.size, self._now()
        model = self._blobs.put_pieces(package.pieces(package.manifest.model))
        held = size + len(package.manifest_bytes) + self._blobs.path(model).stat().st_size
        return DownloadRow(
            self._blobs.put(package.manifest_bytes),
            model,
            self._blobs.adopt(growing.path, growing.promised),
            held,
            size,
            learnware_id,
            owner,
            package.manifest.semantic.name,
            now,
            now,
        )

    def forget(self, revision: bytes) -> None:
        """Remove a download; NotFound, or NodeBusy while it is used."""
        with self._removing:
            row = self.find(revision)
            if row is None:
                raise NotFound("nothing of this revision was downloaded", hint="see GET /api/v1/downloads")
            if not self._remove(revision, row):
                raise NodeBusy("this download is in use", hint="try again when what uses it is done")

    def _keep_room(self, revision: bytes, size: int) -> None:
        if size > self._quota:
            raise CacheFull(
                f"the package and what is in it take {size} bytes, downloads may take {self._quota} in all",
                hint="raise reuse.cache_bytes, or predict at its owner",
            )
        with self._removing:
            rows = self.all()
            with self._lock:
                self._coming[revision] = size
                over = sum(row.size for _, row in rows) + sum(self._coming.values()) - self._quota
                idle = [(key, row) for key, row in reversed(rows) if not self._held(key)]
                if over > sum(row.size for _, row in idle):
                    del self._coming[revision]
                    raise CacheFull(
                        "downloads that are in use leave no room for this one",
                        hint="try again later, or raise reuse.cache_bytes",
                    )
            for key, row in idle:
                if over > 0 and self._remove(key, row):
                    over -= row.size

    def _held(self, revision: bytes) -> bool:
        return revision in self._used or revision in self._coming

    def _remove(self, revision: bytes, row: DownloadRow) -> bool:
        """Whether it could be; from now on nobody finds it, and whoever fetches it anew waits until its files are
        gone."""
        with self._lock:
            if self._held(revision):
                return False
            self._going.add(revision)
        try:
            with self._blobs.claiming():
                self._store.write(lambda txn: self._rows.delete(txn, revision)).result()
                with self._store.view() as txn:
                    rows = [each for table in (self._rows, self._dock) for _, each in table.scan(txn)]
                named = {digest for each in rows for digest in each.blobs}
                for digest in set(row.blobs) - named:
                    self._blobs.remove(digest)
        finally:
            with self._lock:
                self._going.discard(revision)
        return True

    def _drop_broken(self) -> None:
        """After a restore the files are missing; a version before has not written sizes."""
        for revision, row in self.all():
            paths = [self._blobs.path(digest) for digest in row.blobs]
            if not all(path.exists() for path in paths):
                self._remove(revision, row)
            elif not row.size:
                sized = msgspec.structs.replace(row, size=sum(path.stat().st_size for path in paths))
                self._store.write(partial(self._replace, revision, sized)).result()

    def _replace(self, revision: bytes, row: DownloadRow, txn: Transaction) -> None:
        """Unless it was removed meanwhile."""
        if self._rows.get(txn, revision) is not None:
            self._rows.put(txn, revision, row)
