"""Uploads that grow piece by piece, addressed by the SHA-256 of the whole: what broke off goes on where it stands."""

from __future__ import annotations

import os
import time
from pathlib import Path

from atoll.engine.errors import IntegrityError
from atoll.engine.folders import fsync_folder
from atoll.node.errors import RequestInvalid
from atoll.node.store.blobs import BlobStore, hash_of, require_hash

FORGOTTEN = 7 * 86_400.0  # seconds after which an upload that nobody goes on with is removed


class Uploads:
    """Files under ``blobs/partial``; one writer a digest is the caller's business."""

    def __init__(self, blobs: BlobStore, limit: int) -> None:
        self._blobs = blobs
        self._limit = limit
        for path in blobs.partials("upload-"):
            if time.time() - path.stat().st_mtime > FORGOTTEN:
                path.unlink()

    def received(self, digest: bytes) -> int:
        """Bytes that are here already."""
        path = self._path(digest)
        return path.stat().st_size if path.exists() else 0

    def append(self, digest: bytes, offset: int, data: bytes) -> int:
        """Bytes that are here then; RequestInvalid if it does not go on where it stands, or gets too long."""
        stands = self.received(digest)
        if offset != stands:
            raise RequestInvalid(f"the upload stands at {stands} bytes, not at {offset}", hint="go on from there")
        if stands + len(data) > self._limit:
            self._path(digest).unlink(missing_ok=True)
            raise RequestInvalid(f"the package is larger than {self._limit} bytes", hint="see http.max_upload_bytes")
        with self._path(digest).open("ab") as file:
            file.write(data)
        return stands + len(data)

    def take(self, path: Path) -> bytes:
        """A file that has come in one piece is an upload from now on; returns its digest."""
        digest = hash_of(path)
        path.replace(self._path(digest))
        return digest

    def finish(self, digest: bytes, submission: bytes) -> None:
        """The whole belongs to a submission now, durably; IntegrityError, and nothing is left, if it is not whole."""
        path = self._path(digest)
        if not path.exists():
            raise IntegrityError("nothing was uploaded under this hash", hint="PUT it to /api/v1/uploads first")
        require_hash(path, digest)
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        path.replace(self.submitted(submission))
        fsync_folder(path.parent)

    def submitted(self, submission: bytes) -> Path:
        """The package of a submission."""
        return self._blobs.partial(f"submission-{submission.hex()}")

    def labelled(self, submission: bytes) -> Path:
        """The labelled sample of a submission, if one was given."""
        return self._blobs.partial(f"labelled-{submission.hex()}")

    def forget(self, submission: bytes) -> None:
        """It is decided."""
        for path in (self.submitted(submission), self.labelled(submission)):
            path.unlink(missing_ok=True)

    def _path(self, digest: bytes) -> Path:
        return self._blobs.partial(f"upload-{digest.hex()}")
