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
from atoll.node.store.partial import Partial, Room, forget_old
from atoll.protocol.errors import NotFound

TOUCH = 60_000  # ms within which a download that is used again is not written anew
AHEAD = 32 << 20  # bytes for which there is room before they come
KEPT = 600_000  # ms for which what a request has fetched stays, for its user to take it
USERS = 1000  # of one download that are remembered; the others ask its owner again


class DownloadRow(msgspec.Struct, frozen=True):
    """A fetched package: blobs of its manifest, its model and of itself, the bytes of all three, whose it is, when it
    was last used (ms), and to which users of this node its owner has given it."""

    manifest: bytes
    model: bytes
    package: bytes = b""
    size: int = 0
    package_size: int = 0
    learnware_id: bytes = b""
    owner: bytes = b""
    name: str = ""
    used_at: int = 0
    users: tuple[str, ...] = ()

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
        self._kept: dict[bytes, int] = {}  # until when (ms)
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
            self._store.write(partial(self._change, revision, partial(msgspec.structs.replace, used_at=now)))

    def grant(self, revision: bytes, user: str) -> None:
        """Its owner has given it to this user too; returns after commit."""

        def granted(row: DownloadRow) -> DownloadRow:
            others = tuple(each for each in row.users if each != user)
            return msgspec.structs.replace(row, users=(*others, user)[-USERS:])

        self._store.write(partial(self._change, revision, granted)).result()

    @contextmanager
    def coming(self, revision: bytes) -> Iterator[Room]:
        """Within the block a package is on its way. The function that comes with it keeps room for the bytes that are
        here, a little more, and what is taken out of them, or raises CacheFull: others go for what has come, never for
        what is promised."""
        try:
            yield partial(self._grow, revision)
        finally:
            with self._lock:
                self._coming.pop(revision, None)

    def on_their_way(self) -> dict[bytes, int]:
        """By revision: bytes of room that are kept for what is coming."""
        with self._lock:
            return dict(self._coming)

    @property
    def quota(self) -> int:
        """Bytes that all of it may take."""
        return self._quota

    def keep(self, revision: bytes) -> None:
        """It stays for some minutes, or until :meth:`release`."""
        with self._lock:
            now = self._now()
            self._kept = {key: until for key, until in self._kept.items() if until > now} | {revision: now + KEPT}

    def release(self, revision: bytes) -> None:
        """It has been taken."""
        with self._lock:
            self._kept.pop(revision, None)

    def take_in(
        self, revision: bytes, growing: Partial, *, learnware_id: bytes, owner: bytes, user: str
    ) -> DownloadRow:
        """Check a download that has all its bytes, and keep it, durably. IntegrityError or PackageError if it is not
        the package of this revision; then nothing of it stays."""
        assert growing.path is not None
        try:
            require_hash(growing.path, growing.promised)
            with open_package(growing.path, specifications=False) as package:
                if package.revision != revision:
                    raise IntegrityError("the package is not the revision that its listing names")
                with self._blobs.claiming():
                    row = msgspec.structs.replace(self._put(package, growing, learnware_id, owner), users=(user,))
                    self._store.write(lambda txn: self._rows.put(txn, revision, row)).result()
        except AtollError:
            growing.discard()
            raise
        return row

    def _put(self, package: Package, growing: Partial, learnware_id: bytes, owner: bytes) -> DownloadRow:
        assert growing.path is not None
        size = growing.size
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
            self._now(),
        )

    def forget(self, revision: bytes) -> None:
        """Remove a download; NotFound, or NodeBusy while it is used."""
        with self._removing:
            row = self.find(revision)
            if row is None:
                raise NotFound("nothing of this revision was downloaded", hint="see GET /api/v1/downloads")
            if not self._remove(revision, row):
                raise NodeBusy("this download is in use", hint="try again when what uses it is done")

    def _grow(self, revision: bytes, size: int, done: int) -> None:
        if 2 * size > self._quota:
            raise CacheFull(
                f"the package and what is in it take {2 * size} bytes, downloads may take {self._quota} in all",
                hint="raise reuse.cache_bytes, or predict at its owner",
            )
        with self._lock:
            enough = revision in self._coming and self._coming[revision] >= 2 * done
        if not enough:
            self._keep_room(revision, 2 * size, 2 * min(size, done + AHEAD))

    def _keep_room(self, revision: bytes, whole: int, now: int) -> None:
        """For ``now`` bytes, where ``whole`` could be had."""
        with self._removing:
            rows = self.all()
            with self._lock:
                self._coming[revision] = now
                over = sum(row.size for _, row in rows) + sum(self._coming.values()) - self._quota
                idle = [(key, row) for key, row in reversed(rows) if not self._held(key) and not self._is_kept(key)]
                if over + whole - now > sum(row.size for _, row in idle):
                    del self._coming[revision]
                    raise CacheFull(
                        "downloads that are in use leave no room for this one",
                        hint="try again later, or raise reuse.cache_bytes",
                    )
            for key, row in idle:
                if over > 0 and self._remove(key, row):
                    over -= row.size

    def _is_kept(self, revision: bytes) -> bool:
        return self._kept.get(revision, 0) > self._now()

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
                size = sum(path.stat().st_size for path in paths)
                sized = partial(msgspec.structs.replace, size=size)
                self._store.write(partial(self._change, revision, sized)).result()

    def _change(self, revision: bytes, change: Callable[[DownloadRow], DownloadRow], txn: Transaction) -> None:
        """Unless it was removed meanwhile."""
        if (row := self._rows.get(txn, revision)) is not None:
            self._rows.put(txn, revision, change(row))
