"""Uploads that grow piece by piece, addressed by the SHA-256 of the whole: what broke off goes on where it stands."""

from __future__ import annotations

import time
from pathlib import Path

from atoll.engine.errors import IntegrityError
from atoll.node.errors import RequestInvalid
from atoll.node.store.blobs import BlobStore

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

    def finish(self, digest: bytes) -> None:
        """The whole is a blob now, durably; IntegrityError, and nothing is left, if it is something else."""
        if self._blobs.has(digest):
            return
        path = self._path(digest)
        if not path.exists():
            raise IntegrityError("nothing was uploaded under this hash", hint="PUT it to /api/v1/uploads first")
        self._blobs.adopt_checked(path, digest)

    def _path(self, digest: bytes) -> Path:
        return self._blobs.partial(f"upload-{digest.hex()}")
