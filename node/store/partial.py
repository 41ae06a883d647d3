"""Packages in the making: a file grows under the revision and the hash that was promised for it, and outlives the node.

What stands there goes on only under the same promise; it is checked when it is whole, and never before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from atoll.node.store.blobs import BlobStore

Room = Callable[[int, int], None]  # keeps room for a download: given the bytes in all, and those that are here
PREFIX = "download-"
FORGOTTEN = 7 * 86_400.0  # seconds after which a download that nobody goes on with is removed


class Partial:
    """The download of one revision. Blocking; one at a time."""

    def __init__(self, blobs: BlobStore, revision: bytes) -> None:
        self._blobs = blobs
        self._name = f"{PREFIX}{revision.hex()}."
        found = blobs.partials(self._name)
        self.path: Path | None = found[0] if len(found) == 1 else None
        if self.path is None:
            self.discard()

    @property
    def size(self) -> int:
        """Bytes that are here."""
        return self.path.stat().st_size if self.path is not None else 0

    @property
    def promised(self) -> bytes:
        """The SHA-256 of the whole, as its owner has said; empty before it has."""
        return bytes.fromhex(self.path.name.removeprefix(self._name)) if self.path is not None else b""

    def begin(self, promised: bytes) -> Path:
        """The file that grows under this promise; what was there is kept if it is of the same."""
        if promised != self.promised:
            self.discard()
            self.path = self._blobs.partial(self._name + promised.hex())
            self.path.touch()
        assert self.path is not None
        return self.path

    def discard(self) -> None:
        """Start anew."""
        for path in self._blobs.partials(self._name):
            path.unlink(missing_ok=True)
        self.path = None


def forget_old(blobs: BlobStore) -> None:
    """Remove what nobody has gone on with for a week."""
    for path in blobs.partials(PREFIX):
        if time.time() - path.stat().st_mtime > FORGOTTEN:
            path.unlink()
