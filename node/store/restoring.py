"""Restoring a backup, and verifying one without restoring it. A backup is foreign bytes until all of it is checked.

A restore is made beside the home and becomes the home in one rename, so one that fails leaves nothing. It marks the
store ("restored_at" in "meta": ms, as text), for the node to begin a new epoch of its logs at the next start: its peers
may know newer records than the backup holds, and must not take what it signs next for a fork.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from atoll.engine.errors import IntegrityError
from atoll.engine.folders import fsync_folder
from atoll.node import identity as identities
from atoll.node.errors import ConfigError, StoreError
from atoll.node.store import backup_file
from atoll.node.store.backup_file import KEY, STORE, Manifest, Member, Progress
from atoll.node.store.durable import replacing
from atoll.node.store.environment import Store
from atoll.node.store.migration import migrate
from atoll.node.store.verification import Report, read_store, verify_home

RESTORED = "restored_at"
MAX_KEY = 64 * 1024


def restore(
    path: Path, home: Path, now: int, *, identity: Path | None, progress: Progress,
    rekey: Callable[[Path], object] | None = None,
) -> Report:  # fmt: skip
    """Make a home of a backup, durably; whatever is wrong with the backup, ``home`` stays as it was.

    ``rekey(folder)`` gives the home that is being made a new key instead of the one it had. IntegrityError if the
    backup is damaged; ConfigError unless ``home`` is free and the key is that of the backup, or a new one.
    """
    with _staged(home.resolve()) as staging:
        manifest = _unpack(path, lambda member: staging / member.name, progress)
        if rekey is not None:
            rekey(staging)
        elif identity is not None:
            with identity.open("rb") as given, replacing(staging / KEY) as file:
                file.write(given.read(MAX_KEY))
        elif KEY not in manifest.names:
            raise ConfigError(
                "the backup holds no key",
                hint="give the key of the node with --identity FILE, or the recovery line with --recovery FILE",
            )
        if rekey is None and identities.load(staging).peer != manifest.peer_id:
            raise ConfigError(f"the key is not that of {manifest.peer_id}, whose backup this is")
        report = verify_home(staging, deep=False)
        report.require_whole()
        migrated = migrate(staging / "store", now)
        if migrated is not None:  # the backup is there to go back with
            shutil.rmtree(migrated.kept)
        with closing(Store(staging / "store")) as store:
            store.mark(RESTORED, now)
        for folder in (staging, *(each for each in staging.rglob("*") if each.is_dir())):
            fsync_folder(folder)
    return report


def verify(path: Path, progress: Progress) -> Report:
    """Read a whole backup: hashes, rows, and whether it has every blob that a row names.

    IntegrityError only where the file is not laid out as a backup: cut, mixed up, or something else.
    """
    damage: list[str] = []
    with tempfile.TemporaryDirectory(prefix="atoll-verify-") as name:
        folder = Path(name)
        manifest = _unpack(path, lambda member: folder / STORE if member.name == STORE else None, progress, damage)
        contents = read_store((folder / STORE).parent, deep=True)
    blobs = [member for member in manifest.members if backup_file.BLOB.fullmatch(member.name)]
    held = {member.sha256 for member in blobs}
    missing = [f"blob {digest} is missing" for digest in contents.blobs if digest not in held]
    size = sum(member.size for member in blobs)
    return Report(manifest.peer_id, contents.tables, len(blobs), size, (*damage, *contents.damage, *missing))


def _unpack(
    path: Path, place: Callable[[Member], Path | None], progress: Progress, damage: list[str] | None = None
) -> Manifest:
    """Read a backup to its end, members into the files that ``place`` says; with ``damage`` past wrong hashes too."""
    with path.open("rb") as file:
        manifest, length = backup_file.read_manifest(file), os.fstat(file.fileno()).st_size
        if length != manifest.length:
            raise IntegrityError(f"the backup has {length} bytes, its manifest says {manifest.length}")
        for member, content in backup_file.read_members(file, manifest):
            try:
                _write(content, place(member))
            except IntegrityError as error:
                if damage is None:
                    raise
                damage.append(error.message)
            progress(file.tell(), length)
    return manifest


def _write(content: Iterable[bytes], path: Path | None) -> None:
    if path is None:
        for _ in content:
            pass
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.writelines(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _staged(home: Path) -> Iterator[Path]:
    """A folder beside ``home`` that becomes ``home`` if the block ends well; else nothing of it stays."""
    _check_free(home)
    new = [folder for folder in home.parents if not folder.exists()]
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=home.parent, prefix=f".{home.name}.restore-"))
        try:
            yield staging
            staging.rename(home)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            for folder in new:
                with suppress(OSError):
                    folder.rmdir()
            raise
        fsync_folder(home.parent)
    except OSError as error:
        raise StoreError(f"{home} was not restored: {error}") from None


def _check_free(home: Path) -> None:
    if not home.exists():
        return
    if not home.is_dir():
        raise ConfigError(f"{home} is not a folder", hint="restore into a new folder, with --home")
    there = sorted(entry.name for entry in home.iterdir())
    if there:
        names = ", ".join(there[:5]) + (" ..." if len(there) > 5 else "")
        raise ConfigError(f"{home} is not empty, it holds {names}", hint="restore into a new folder, with --home")
