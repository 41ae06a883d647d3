"""Packages fetched from their owners, by revision; the files themselves are blobs."""

from __future__ import annotations

import msgspec


class DownloadRow(msgspec.Struct, frozen=True):
    """A fetched package: blobs of its manifest and model."""

    manifest: bytes
    model: bytes

    @property
    def blobs(self) -> tuple[bytes, ...]:
        return self.manifest, self.model
