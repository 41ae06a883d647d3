"""Blobs on disk, addressed by SHA-256: temp file, fsync, rename, fsync folder; then the row that names them."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from atoll.engine.errors import IntegrityError
from atoll.engine.folders import fsync_folder


def place(digest: str) -> str:
    """Where the blob of a digest (hex) is, below the root."""
    return f"sha256/{digest[:2]}/{digest}"


class BlobStore:
    """Files under ``root/sha256/ab/<hash>``, plus downloads in the making under ``root/partial``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._claims = threading.RLock()
        self._partial = root / "partial"
        self._partial.mkdir(parents=True, exist_ok=True)

    def path(self, digest: bytes) -> Path:
        return self._root / place(digest.hex())

    def has(self, digest: bytes) -> bool:
        return self.path(digest).exists()

    @contextmanager
    def claiming(self) -> Iterator[None]:
        """Held from before blobs are put until the row that names them is there, and by whoever removes what no row
        names: nobody removes what somebody is about to name."""
        with self._claims:
            yield

    def remove(self, digest: bytes) -> None:
        """Delete a blob that no row names; the caller is claiming."""
        self.path(digest).unlink(missing_ok=True)

    def put(self, data: bytes) -> bytes:
        """Store ``data``; returns its digest, after fsync."""
        return self.put_pieces((data,))

    def put_pieces(self, pieces: Iterable[bytes]) -> bytes:
        """Store what ``pieces`` make up, one of them in memory at a time; returns its digest, after fsync. Nothing
        stays where they end in an error."""
        hashed = hashlib.sha256()
        with self.growing() as file:
            for piece in pieces:
                hashed.update(piece)
                file.write(piece)
            file.flush()
            return self.adopt(Path(file.name), hashed.digest())

    def temporary(self) -> IO[bytes]:
        """A temporary file on the same disk; the caller closes it, and removes it unless it is adopted."""
        return tempfile.NamedTemporaryFile(dir=self._partial, delete=False)

    @contextmanager
    def growing(self) -> Iterator[IO[bytes]]:
        """A temporary file on the same disk, to be adopted before the block ends; else nothing of it stays."""
        with self.temporary() as file:
            try:
                yield file
            finally:
                Path(file.name).unlink(missing_ok=True)

    def partial(self, name: str) -> Path:
        """Where a resumable download with this name (hex) grows."""
        return self._partial / name

    def partials(self, prefix: str) -> list[Path]:
        """What grows under names that begin so."""
        return [path for path in self._partial.iterdir() if path.name.startswith(prefix)]

    def adopt(self, path: Path, digest: bytes) -> bytes:
        """Move a file that is known to hash to ``digest`` into the store, durably."""
        target = self.path(digest)
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            fsync_folder(target.parent.parent)
            fsync_folder(self._root)
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        path.replace(target)
        fsync_folder(target.parent)
        return digest


def hash_of(path: Path) -> bytes:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def require_hash(path: Path, digest: bytes) -> None:
    """IntegrityError, and the file is removed, unless it is what was promised."""
    if hash_of(path) != digest:
        path.unlink()
        raise IntegrityError("what was received does not have the hash that was promised")
