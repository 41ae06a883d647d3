"""Making a backup: the store as one read transaction sees it, then the blobs that rows of its dock name.

They are immutable and nothing removes them, so copying them after the snapshot is consistent with it, whatever is
written meanwhile; downloads can be fetched again, and are left out. No blob is held in memory; the snapshot waits on
disk, as a file without a name.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO

import atoll
from atoll.engine.errors import IntegrityError
from atoll.node import identity as identities
from atoll.node.store import backup_file
from atoll.node.store.backup_file import CHUNK, CONFIG, KEY, STORE, Manifest, Member, Progress
from atoll.node.store.dock import DockRow
from atoll.node.store.durable import replacing
from atoll.node.store.environment import Store
from atoll.node.store.verification import read_store

Content = Callable[[], Iterator[bytes]]
WHERE_TO_LOOK = "`atoll verify --home`, with the node stopped, lists all damage"


class Backup:
    """A backup about to be written; it holds the snapshot until it is closed."""

    def __init__(self, manifest: Manifest, contents: list[Content], snapshot: IO[bytes]) -> None:
        self.manifest = manifest
        self._contents = contents
        self._snapshot = snapshot

    def chunks(self) -> Iterator[bytes]:
        """The file, ``manifest.length`` bytes; once. IntegrityError at a blob that has changed on disk."""
        return backup_file.write(self.manifest, (content() for content in self._contents))

    def close(self) -> None:
        self._snapshot.close()


def make(store: Store, home: Path, peer: str, now: int, *, with_key: bool) -> Backup:
    """The backup of an open store; blocks while the store is copied. IntegrityError names blobs that are missing."""
    small = [name for name in (CONFIG, *((KEY,) if with_key else ())) if (home / name).exists()]
    parts = [_of_bytes(name, (home / name).read_bytes()) for name in small]
    snapshot = tempfile.TemporaryFile(dir=home)  # noqa: SIM115 - closed with the backup
    try:
        with store.view() as txn:
            store.copy(txn, snapshot)
            blobs = {digest.hex() for _, row in store.table("dock", DockRow).scan(txn) for digest in row.blobs}
        parts += [_of_snapshot(snapshot), *_of_blobs(home, sorted(blobs))]
    except BaseException:
        snapshot.close()
        raise
    members = tuple(member for member, _ in parts)
    manifest = Manifest(backup_file.FORMAT, now, peer, atoll.__version__, members)
    return Backup(manifest, [content for _, content in parts], snapshot)


def offline(home: Path, path: Path, now: int, *, with_key: bool, progress: Progress) -> Manifest:
    """Back up a home in which no node runs (the caller holds its lock) into a file; returns after fsync."""
    identity = identities.load(home)
    damage = read_store(home / "store", deep=False).damage
    if damage:
        raise IntegrityError("; ".join(damage[:3]), hint=WHERE_TO_LOOK)
    with (
        closing(Store(home / "store")) as store,
        closing(make(store, home, identity.peer, now, with_key=with_key)) as backup,
        replacing(path) as file,
    ):
        done = 0
        for chunk in backup.chunks():
            done += file.write(chunk)
            progress(done, backup.manifest.length)
    return backup.manifest


def _of_bytes(name: str, data: bytes) -> tuple[Member, Content]:
    return Member(name, len(data), hashlib.sha256(data).hexdigest()), lambda: iter((data,))


def _of_snapshot(file: IO[bytes]) -> tuple[Member, Content]:
    def content() -> Iterator[bytes]:
        file.seek(0)
        yield from _chunks(file)

    digest = hashlib.sha256()
    for chunk in content():
        digest.update(chunk)
    return Member(STORE, file.tell(), digest.hexdigest()), content


def _of_blobs(home: Path, digests: list[str]) -> list[tuple[Member, Content]]:
    paths = {digest: home / backup_file.blob_name(digest) for digest in digests}
    missing = [digest for digest, path in paths.items() if not path.is_file()]
    if missing:
        raise IntegrityError(f"{len(missing)} blobs are missing: {', '.join(missing[:3])}", hint=WHERE_TO_LOOK)
    return [_of_blob(digest, path) for digest, path in paths.items()]


def _of_blob(digest: str, path: Path) -> tuple[Member, Content]:
    def content() -> Iterator[bytes]:
        with path.open("rb") as file:
            yield from _chunks(file)

    return Member(backup_file.blob_name(digest), path.stat().st_size, digest), content


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk
