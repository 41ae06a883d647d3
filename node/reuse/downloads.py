"""Packages of other owners: fetched once, resumed if broken off, checked against the listing, kept."""

from __future__ import annotations

import asyncio

from atoll.engine.errors import IntegrityError
from atoll.engine.packages import Manifest, open_package
from atoll.engine.packages.manifest import read_manifest
from atoll.node.p2p.network import Network
from atoll.node.store.blobs import BlobStore
from atoll.node.store.downloads import DownloadRow
from atoll.node.store.environment import Store
from atoll.protocol.listings import Listing


class Downloads:
    """Runs on the asyncio side."""

    def __init__(self, store: Store, blobs: BlobStore, network: Network) -> None:
        self._store = store
        self._blobs = blobs
        self._network = network
        self._rows = store.table("downloads", DownloadRow)
        self._fetching: dict[bytes, asyncio.Lock] = {}

    async def get(self, owner: str, listing: Listing, user: str) -> tuple[Manifest, bytes]:
        """(manifest, model digest) of a package."""
        async with self._fetching.setdefault(listing.revision, asyncio.Lock()):
            row = await asyncio.to_thread(self._downloaded, listing.revision)
            if row is None:
                partial = self._blobs.partial(listing.revision.hex())
                digest = await self._network.fetch_package(owner, listing.federation, listing.revision, partial, user)
                row = await asyncio.to_thread(self._take_in, listing.revision, digest)
        manifest = await asyncio.to_thread(self._blobs.path(row.manifest).read_bytes)
        return read_manifest(manifest), row.model

    def cached(self, revision: bytes) -> bool:
        """Whether it is here already."""
        return self._downloaded(revision) is not None

    def _downloaded(self, revision: bytes) -> DownloadRow | None:
        with self._store.view() as txn:
            return self._rows.get(txn, revision)

    def _take_in(self, revision: bytes, digest: bytes) -> DownloadRow:
        self._blobs.adopt_checked(self._blobs.partial(revision.hex()), digest)
        with open_package(self._blobs.path(digest), specifications=False) as package:
            if package.revision != revision:
                raise IntegrityError("the package is not the revision that its listing names")
            model = self._blobs.put_pieces(package.pieces(package.manifest.model))
            row = DownloadRow(self._blobs.put(package.manifest_bytes), model)
        self._store.write(lambda txn: self._rows.put(txn, revision, row)).result()
        return row
