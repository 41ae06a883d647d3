"""Downloads: packages fetched once from whoever has them, resumed where they broke off, checked, and kept in a cache.

One fetch of a revision at a time; others that want it wait for that. Runs on the asyncio side; files are read and
written in threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import compress
from pathlib import Path
from weakref import WeakValueDictionary

import msgspec
from atoll.engine.errors import AtollError, IntegrityError
from atoll.engine.packages import Manifest
from atoll.engine.packages.manifest import read_manifest
from atoll.node.clock import now_ms
from atoll.node.errors import StoreError
from atoll.node.p2p.fetch import Progress
from atoll.node.p2p.network import Network
from atoll.node.pseudonyms import Pseudonyms
from atoll.node.store.blobs import BlobStore
from atoll.node.store.catalogue import Catalogue
from atoll.node.store.downloads import DownloadCache, DownloadRow
from atoll.node.store.partial import Partial
from atoll.protocol.fetch import FetchRequest
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing

TOLD_EVERY = 1 << 20  # bytes


class Downloads:
    """Files of other institutions' learnwares. ``own`` is this node's PeerId: it fetches nothing from itself."""

    def __init__(
        self, own: str, network: Network, catalogue: Catalogue, blobs: BlobStore, cache: DownloadCache,
        pseudonyms: Pseudonyms,
    ) -> None:  # fmt: skip
        self._own = own
        self._network = network
        self._catalogue = catalogue
        self._blobs = blobs
        self._cache = cache
        self._pseudonyms = pseudonyms
        self._turns: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._listeners: list[Callable[[int, bool, bool], None]] = []

    def on_fetched(self, listener: Callable[[int, bool, bool], None]) -> None:
        """Call ``listener(bytes, resumed, failed)`` after every fetch."""
        self._listeners.append(listener)

    @asynccontextmanager
    async def using(
        self, owner: str, listing: Listing, user: str, progress: Progress | None = None
    ) -> AsyncIterator[tuple[Manifest, bytes]]:
        """(manifest, digest of the model) of a package, fetched for ``user`` of this node if it is not here yet; it
        stays within the block.

        ``progress`` is called in this loop, about every megabyte. What its owner says, if it refuses; ``p2p.*`` if it
        is not there, or breaks off: to ask again goes on from there. IntegrityError for a wrong package; CacheFull.
        """
        with self._cache.used(listing.revision):
            row = await self._fetched(owner, listing, user, progress)
            manifest = await asyncio.to_thread(self._blobs.path(row.manifest).read_bytes)
            yield read_manifest(manifest), row.model

    async def file(self, owner: str, listing: Listing, user: str, progress: Progress | None = None) -> DownloadRow:
        """As :meth:`using`: what is kept of the package. Where it was fetched for others, its owner is asked whether
        this user may have it. It stays for some minutes, for the user to take it."""
        with self._cache.used(listing.revision):
            row = await self._fetched(owner, listing, user, progress, whole=True)
            if user not in row.users:
                await self._require_offered(owner, listing, user, row)
                await asyncio.to_thread(self._cache.grant, listing.revision, user)
            self._cache.keep(listing.revision)
            return row

    def released(self, revision: bytes) -> None:
        """A user has taken a package that a request has fetched."""
        self._cache.release(revision)

    def find(self, revision: bytes) -> DownloadRow | None:
        return self._cache.find(revision)

    def path(self, row: DownloadRow) -> Path:
        """Where the package itself is."""
        return self._blobs.path(row.package)

    def cached(self, revision: bytes) -> bool:
        """Whether nothing would be fetched."""
        return self._cache.find(revision) is not None

    def all(self) -> list[tuple[bytes, DownloadRow]]:
        """By revision; what was used last comes first."""
        return self._cache.all()

    def on_their_way(self) -> dict[bytes, int]:
        """Revisions that are being fetched, and the room kept for each (bytes)."""
        return self._cache.on_their_way()

    @property
    def quota(self) -> int:
        """Bytes that downloads may take in all."""
        return self._cache.quota

    def forget(self, revision: bytes) -> None:
        """NotFound, or NodeBusy while it is used; returns after commit."""
        self._cache.forget(revision)

    async def _fetched(
        self, owner: str, listing: Listing, user: str, progress: Progress | None, *, whole: bool = False
    ) -> DownloadRow:
        """``whole``: with the package itself, which versions before have not kept."""
        async with self._turns.setdefault(listing.revision, asyncio.Lock()):
            row = await asyncio.to_thread(self._cache.find, listing.revision)
            if row is None or (whole and not row.package):
                return await self._fetch(owner, listing, user, _told(progress))
        await asyncio.to_thread(self._cache.touch, listing.revision, row)
        return row

    async def _require_offered(self, owner: str, listing: Listing, user: str, row: DownloadRow) -> None:
        """What the owner says, if it refuses; it counts as a download there."""
        message = self._message(listing, user)
        header = await self._network.offered_package(owner, msgspec.structs.replace(message, offset=row.package_size))
        if header.sha256 != row.package:
            raise IntegrityError("the owner serves another package of this revision than the one that is here")

    def _message(self, listing: Listing, user: str) -> FetchRequest:
        pseudonym = self._pseudonyms.of(user, listing.federation)
        return FetchRequest(listing.federation, "package", listing.revision, user=pseudonym)

    async def _fetch(self, owner: str, listing: Listing, user: str, progress: Progress | None) -> DownloadRow:
        """From its owner, else from whoever else lists these very bytes; the first failure is told."""
        try:
            return await self._fetch_from(owner, listing, user, progress)
        except StoreError:
            raise
        except AtollError as error:
            first = error
        for other in await asyncio.to_thread(self._others, owner, listing):
            try:
                return await self._fetch_from(peer_id(other.owner), other, user, progress)
            except AtollError:
                continue
        raise first

    def _others(self, owner: str, listing: Listing) -> list[Listing]:
        """Listings of the same revision, in other federations or by other owners."""
        found = [each for each in self._catalogue.alive(now_ms()) if each.revision == listing.revision]
        places = ((peer_id(each.owner), each.federation) for each in found)
        new = [peer != self._own and (peer, federation) != (owner, listing.federation) for peer, federation in places]
        return list(compress(found, new))

    async def _fetch_from(self, owner: str, listing: Listing, user: str, progress: Progress | None) -> DownloadRow:
        """IntegrityError if what an owner has sent from its beginning is not the package; what was resumed may be at
        fault itself, and is fetched once more."""
        growing = await asyncio.to_thread(Partial, self._blobs, listing.revision)
        try:
            return await self._fetch_on(growing, owner, listing, user, progress)
        except _Resumed:
            return await self._fetch_on(growing, owner, listing, user, progress)

    async def _fetch_on(
        self, growing: Partial, owner: str, listing: Listing, user: str, progress: Progress | None
    ) -> DownloadRow:
        revision, message = listing.revision, self._message(listing, user)
        before = await asyncio.to_thread(lambda: growing.size)
        resumed, fetch = before > 0, _Fetch(before, progress)
        take_in = partial(
            self._cache.take_in, revision, growing, learnware_id=listing.learnware_id, owner=listing.owner, user=user
        )
        with self._cache.coming(revision) as room, self._telling(fetch):
            await self._network.fetch_package(owner, message, growing, room, fetch.came)
            try:
                return await asyncio.to_thread(take_in)
            except IntegrityError as error:
                if resumed:
                    raise _Resumed(error.message) from None
                raise

    @contextmanager
    def _telling(self, fetch: _Fetch) -> Iterator[None]:
        failed = True
        try:
            yield
            failed = False
        finally:
            for listener in self._listeners:
                listener(fetch.received, fetch.begun > 0, failed)


class _Fetch:
    """One fetch: bytes that were here when it began, and that have come since."""

    def __init__(self, begun: int, progress: Progress | None) -> None:
        self.begun = self._last = begun
        self.received = 0
        self._progress = progress

    def came(self, done: int, size: int) -> None:
        self.received += done - self._last if done > self._last else done
        self._last = done
        if self._progress is not None:
            self._progress(done, size)


class _Resumed(IntegrityError):
    """Of a download that was not fetched from its beginning."""


def _told(progress: Progress | None) -> Progress | None:
    """``progress``, called in this loop from any thread, now and then and at the end."""
    if progress is None:
        return None
    loop, told, last = asyncio.get_running_loop(), progress, 0

    def tell(done: int, size: int) -> None:
        nonlocal last
        if done - last >= TOLD_EVERY or done == size or done < last:
            last = done
            loop.call_soon_threadsafe(told, done, size)

    return tell
