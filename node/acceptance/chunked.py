"""Uploads as Beimingwu's client makes them: chunks under the MD5 of the whole, each with the place where it begins.

A chunk that comes again takes the place of what was there, and one that begins at 0 begins the upload anew, so whatever
broke off may go on. MD5 tells a damaged upload, not a forged one: packages have hashes of their own.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atoll.engine.errors import IntegrityError
from atoll.node.errors import RequestInvalid
from atoll.node.store.blobs import BlobStore

PREFIX, TAKEN = "beimingwu-", "beimingwu-taken-"
FORGOTTEN = 86_400.0  # seconds after which an upload that nobody goes on with is removed
IDLE = 3600.0  # seconds after which it makes room for others of its user
AT_A_TIME = 16  # uploads of one user


class ChunkedUploads:
    """Thread-safe; files under ``blobs/partial``. What one user has uploaded and not yet added is at most ``limit``
    bytes in all. ``user`` is the id of a token."""

    def __init__(self, blobs: BlobStore, limit: int) -> None:
        self._blobs = blobs
        self._limit = limit
        self._lock = threading.Lock()
        for path in blobs.partials(TAKEN):  # the node ended while it was read
            path.unlink()
        self._forget_old(time.time())

    def put(self, user: str, md5: str, begin: int, chunk: bytes, now: float) -> int:
        """Bytes that are here then; RequestInvalid for a chunk that leaves a gap, or for more than ``limit``. ``now``
        in seconds."""
        with self._lock:
            path = self._path(user, md5)
            if begin == 0:
                self._forget_old(now)
                path.unlink(missing_ok=True)
            stands = path.stat().st_size if path.exists() else 0
            if begin > stands:
                raise RequestInvalid(
                    f"the upload stands at {stands} bytes, the chunk begins at {begin}", hint=f"go on from {stands}"
                )
            if not self._has_room(user, path, begin + len(chunk), now):
                path.unlink(missing_ok=True)
                raise RequestInvalid(
                    f"more than {AT_A_TIME} uploads, or {self._limit} bytes of them, wait to be added",
                    hint="add them, or wait for an hour; see http.max_upload_bytes",
                )
            with path.open("r+b" if stands else "wb") as file:
                file.seek(begin)
                file.write(chunk)
            return max(stands, begin + len(chunk))

    @contextmanager
    def taken(self, user: str, md5: str) -> Iterator[Path]:
        """The whole file within the block, and nothing of it afterwards; IntegrityError unless it is what its MD5
        says."""
        mine = self._blobs.partial(TAKEN + secrets.token_hex(8))
        with self._lock:
            path = self._path(user, md5)
            if not path.exists():
                raise IntegrityError("nothing was uploaded under this hash", hint="upload it first, in chunks")
            path.replace(mine)
        try:
            with mine.open("rb") as file:
                found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
            if found != md5.lower():
                raise IntegrityError("the upload does not have the MD5 that was promised", hint="upload it again")
            yield mine
        finally:
            mine.unlink(missing_ok=True)

    def _has_room(self, user: str, path: Path, size: int, now: float) -> bool:
        """For so many bytes of an upload; the user's others that have been idle for longest make room."""
        others = [(each.stat(), each) for each in self._blobs.partials(f"{PREFIX}{user}-") if each != path]
        others.sort(key=lambda other: -other[0].st_mtime)
        while len(others) >= AT_A_TIME or sum(stat.st_size for stat, _ in others) + size > self._limit:
            if not others or now - others[-1][0].st_mtime < IDLE:
                return False
            others.pop()[1].unlink(missing_ok=True)
        return True

    def _path(self, user: str, md5: str) -> Path:
        if not re.fullmatch("[0-9a-fA-F]{32}", md5):
            raise RequestInvalid("file_hash is not an MD5 in hex")
        return self._blobs.partial(f"{PREFIX}{user}-{md5.lower()}")

    def _forget_old(self, now: float) -> None:
        for path in self._blobs.partials(PREFIX):
            if not path.name.startswith(TAKEN) and now - path.stat().st_mtime > FORGOTTEN:
                path.unlink(missing_ok=True)
