"""Rows that users upload piece by piece, as `.npy` bytes addressed by their SHA-256, each user's on their own.

Nothing stays beyond its use: a restart clears the folder, and what no session has used for an hour goes.
"""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from atoll.engine.errors import IntegrityError
from atoll.engine.tables import Table
from atoll.node.errors import RequestInvalid
from atoll.node.reuse.rows import Rows
from atoll.node.store.blobs import hash_of
from atoll.protocol.errors import NotFound

AT_A_TIME = 2  # times the size of one upload, that a user may have here
FILES = 32  # of one user


@dataclass
class _Upload:
    path: Path
    used: float
    whole: bool = False
    verified: bool = False
    sessions: set[str] = field(default_factory=set)


class RowUploads:
    """Thread-safe. ``limit`` is of one upload, in bytes; ``most`` counts rows; ``clock`` gives growing seconds."""

    def __init__(self, folder: Path, limit: int, most: int, clock: Callable[[], float]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        self._folder = folder
        self._limit = limit
        self._most = most
        self._clock = clock
        self._lock = threading.RLock()
        self._held: dict[tuple[str, bytes], _Upload] = {}

    def received(self, user: str, digest: bytes) -> int:
        """Bytes that are here already."""
        with self._lock:
            upload = self._held.get((user, digest))
            return upload.path.stat().st_size if upload is not None else 0

    def append(self, user: str, digest: bytes, offset: int, data: bytes) -> int:
        """Bytes that are here then; RequestInvalid if it does not go on where it stands, or gets too much."""
        with self._lock:
            stands = self.received(user, digest)
            held = self._held.get((user, digest))
            if held is not None and held.whole and data:
                raise RequestInvalid(f"all {stands} bytes of these rows are here")
            if offset != stands:
                raise RequestInvalid(f"the upload stands at {stands} bytes, not at {offset}", hint="go on from there")
            if stands + len(data) > self._limit:
                self.remove(user, digest)
                raise RequestInvalid(
                    f"the rows take more than {self._limit} bytes",
                    hint="send fewer at a time, or as float32; see reuse.max_upload_bytes",
                )
            if self._bytes(user) + len(data) > AT_A_TIME * self._limit:
                raise RequestInvalid(
                    f"your rows here take more than {AT_A_TIME * self._limit} bytes", hint="forget some sessions first"
                )
            if sum(owner == user for owner, _ in self._held.keys() | {(user, digest)}) > FILES:
                raise RequestInvalid(f"{FILES} uploads are here already", hint="forget some sessions first")
            upload = self._held.setdefault((user, digest), _Upload(self._new(), 0.0))
            with upload.path.open("ab") as file:
                file.write(data)
            upload.used = self._clock()
            return stands + len(data)

    def open(self, user: str, digest: bytes, columns: tuple[str, ...]) -> Rows:
        """The rows of a whole upload; IntegrityError, and nothing is left, if it is not what its hash says."""
        with self._lock:
            upload = self._found(user, digest)
            upload.whole = True
        if not upload.verified and hash_of(upload.path) != digest:
            self.remove(user, digest)
            raise IntegrityError("the rows that came do not have the hash that was promised", hint="upload them again")
        upload.verified = True
        return Rows.open(upload.path, columns, self._most, digest)

    def keep(self, user: str, rows: Table, holder: str) -> Rows:
        """Rows that are here in memory, as an upload of float64, until ``holder`` releases them."""
        path = self._new()
        try:
            with path.open("wb") as file:
                np.save(file, np.ascontiguousarray(rows.values, np.float64), allow_pickle=False)
            return self._kept(user, path, rows.columns, holder)
        finally:
            path.unlink(missing_ok=True)

    def take(self, user: str, rows: Rows, holder: str) -> Rows:
        """The same with rows in a file that is not the caller's any more."""
        return self._kept(user, rows.path, rows.columns, holder)

    def use(self, user: str, digests: Iterable[bytes], session: str) -> None:
        """The rows are those of a session, and go with the last one that uses them."""
        with self._lock:
            for upload in [self._found(user, digest) for digest in digests]:
                upload.sessions.add(session)

    def release(self, user: str, session: str, *, keep: bool = False) -> None:
        """A session is forgotten, or has not come to be: then the rows are to ``keep``, for another attempt."""
        with self._lock:
            for (owner, digest), upload in list(self._held.items()):
                if owner == user and session in upload.sessions:
                    upload.sessions.discard(session)
                    if not upload.sessions and not keep:
                        self.remove(user, digest)

    def drop(self, user: str, digest: bytes) -> None:
        """Remove what no session uses; RequestInvalid while one does."""
        with self._lock:
            if self._found(user, digest).sessions:
                raise RequestInvalid("a session uses these rows", hint="forget the session: they go with it")
            self.remove(user, digest)

    def remove(self, user: str, digest: bytes) -> None:
        with self._lock:
            upload = self._held.pop((user, digest), None)
            if upload is not None:
                upload.path.unlink(missing_ok=True)

    def expire(self, before: float) -> None:
        """Remove what no session uses and nobody has touched since."""
        with self._lock:
            for (user, digest), upload in list(self._held.items()):
                if not upload.sessions and upload.used < before:
                    self.remove(user, digest)

    def _kept(self, user: str, path: Path, columns: tuple[str, ...], holder: str) -> Rows:
        """What is in a file is moved here, unless it is here already."""
        digest = hash_of(path)
        with self._lock:
            held = self._held.get((user, digest))
            if held is None or not held.whole:
                if self._bytes(user) + path.stat().st_size > AT_A_TIME * self._limit:
                    raise RequestInvalid("your rows here take too many bytes", hint="forget some sessions first")
                held = held or _Upload(self._new(), 0.0)
                shutil.move(path, held.path)
                held.whole, self._held[user, digest] = True, held
            held.used = self._clock()
            held.sessions.add(holder)
        return Rows.open(held.path, columns, self._most, digest)

    def _found(self, user: str, digest: bytes) -> _Upload:
        upload = self._held.get((user, digest))
        if upload is None:
            raise NotFound("no rows were uploaded under this hash", hint="PUT them to /api/v1/rows first")
        return upload

    def _bytes(self, user: str) -> int:
        return sum(each.path.stat().st_size for (owner, _), each in self._held.items() if owner == user)

    def _new(self) -> Path:
        return self._folder / f"{secrets.token_hex(16)}.npy"
