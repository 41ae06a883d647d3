"""Downloads: packages that this node has fetched, or is told to fetch, one or a whole mixture, with progress."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from atoll.engine.errors import AtollError
from atoll.node.api.files import sent
from atoll.node.api.routing import Route, read_json, reply, user_of
from atoll.node.api.searches import event_writer, stream_events
from atoll.node.clock import now_ms
from atoll.node.errors import RequestInvalid
from atoll.node.search.running import Event
from atoll.protocol.errors import NotFound, PolicyDenied
from atoll.protocol.ids import parse_digest, peer_id
from atoll.protocol.listings import Listing

if TYPE_CHECKING:
    from atoll.node.app import Node

MOST = 30  # learnwares in one request
AT_ONCE = 4


class DownloadBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some ``learnwares`` of the catalogue, or all members of the mixture of a search."""

    learnwares: tuple[str, ...] = ()
    search_id: str = ""


class DownloadView(msgspec.Struct, frozen=True):
    """A package that is here: its ``sha256`` is that of the file, ``bytes`` what it takes with what is in it."""

    learnware_id: str
    revision: str
    name: str
    owner: str
    sha256: str
    size: int
    bytes: int
    used_at: int


class FailureView(msgspec.Struct, frozen=True):
    code: str
    detail: str
    hint: str | None = None


class DownloadsView(msgspec.Struct, frozen=True):
    """``failed``, by learnware."""

    downloads: tuple[DownloadView, ...]
    failed: dict[str, FailureView]


class ProgressView(msgspec.Struct, frozen=True):
    """Bytes of the package of one learnware."""

    learnware_id: str
    done: int
    size: int


async def index(node: Node, request: web.Request) -> web.Response:
    return reply([_of_row(revision, row) for revision, row in await asyncio.to_thread(node.downloads.all)])


async def fetch(node: Node, request: web.Request) -> web.StreamResponse:
    """Fetch what is not here yet; answered whole, or streamed: ``download`` (progress), ``fetched``, ``failed``, and last
    ``end`` with the whole answer. Whoever goes ends it, and goes on from there by asking again."""
    body = await read_json(request, DownloadBody)
    fetching = _Fetching(node, user_of(request), await asyncio.to_thread(_wanted, node, body, user_of(request)))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(fetching.run())
        try:
            writer = event_writer(request)
            if writer is None:
                return reply(await task)
            return await stream_events(request, fetching.events(), writer)
        finally:
            task.cancel()


async def file(node: Node, request: web.Request) -> web.StreamResponse:
    """The package itself, a zip file; one of this dock is as others may download it."""
    revision = parse_digest(request.match_info["revision"])
    row = await asyncio.to_thread(node.downloads.find, revision)
    if row is not None and row.package:
        path, digest, name, id_ = node.downloads.path(row), row.package, row.name, row.learnware_id
    else:
        own = next((each for each in node.dock.all() if each.row.revision == revision), None)
        if own is None:
            raise NotFound("no package of this revision is here", hint="POST it to /api/v1/downloads first")
        path, digest, name, id_ = node.dock.served_path(own), own.row.served, own.manifest.semantic.name, own.id
    return await sent(request, path, digest.hex(), media_type="application/zip", name=file_name(name, id_.hex()))


async def forget(node: Node, request: web.Request) -> web.Response:
    await asyncio.to_thread(node.downloads.forget, parse_digest(request.match_info["revision"]))
    return web.Response(status=204)


def file_name(name: str, learnware_id: str) -> str:
    """What a package is called in a folder: words of its name, and the beginning of its id."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    return f"{words or 'learnware'}-{learnware_id[:12]}.zip"


class _Fetching:
    """What one request wants. Lives in its task group."""

    def __init__(self, node: Node, user: str, wanted: dict[str, Listing | FailureView]) -> None:
        self._node = node
        self._user = user
        self._wanted = wanted
        self._few = asyncio.Semaphore(AT_ONCE)
        self._count = 0
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()

    async def run(self) -> DownloadsView:
        done: list[DownloadView] = []
        failed: dict[str, FailureView] = {}
        async with asyncio.TaskGroup() as group:
            for learnware_id, listing in self._wanted.items():
                group.create_task(self._one(learnware_id, listing, done, failed))
        answer = DownloadsView(tuple(sorted(done, key=lambda each: each.learnware_id)), failed)
        self._tell("end", answer)
        self._queue.put_nowait(None)
        return answer

    async def events(self) -> AsyncIterator[Event]:
        while (event := await self._queue.get()) is not None:
            yield event

    async def _one(
        self, learnware_id: str, listing: Listing | FailureView, done: list[DownloadView],
        failed: dict[str, FailureView],
    ) -> None:  # fmt: skip
        if isinstance(listing, FailureView):
            failure = listing
        else:
            try:
                async with self._few:
                    done.append(await self._fetched(listing))
                self._tell("fetched", done[-1])
                return
            except AtollError as error:
                failure = FailureView(error.code, error.message, error.hint)
        failed[learnware_id] = failure
        self._tell("failed", {"learnware_id": learnware_id, **msgspec.structs.asdict(failure)})

    async def _fetched(self, listing: Listing) -> DownloadView:
        owner, learnware_id = peer_id(listing.owner), listing.learnware_id.hex()
        if owner == self._node.identity.peer:
            return await asyncio.to_thread(_of_dock, self._node, listing)
        told = partial(self._progress, learnware_id)
        return _of_row(listing.revision, await self._node.downloads.file(owner, listing, self._user, told))

    def _progress(self, learnware_id: str, done: int, size: int) -> None:
        self._tell("download", ProgressView(learnware_id, done, size))

    def _tell(self, event: str, data: object) -> None:
        self._count += 1
        self._queue.put_nowait(Event(self._count, event, data))


def _wanted(node: Node, body: DownloadBody, user: str) -> dict[str, Listing | FailureView]:
    """By learnware: what is to be fetched, or why it cannot be."""
    if bool(body.learnwares) == bool(body.search_id) or len(body.learnwares) > MOST:
        raise RequestInvalid(f"name a search, or 1 to {MOST} learnwares")
    found: dict[str, Listing | FailureView] = {}
    for member in node.searcher.session(body.search_id, user).members if body.search_id else ():
        own = member.owner == node.identity.peer
        found[member.id] = member.listing if own or "download" in member.may else _not_offered(member.listing)
    for learnware_id in body.learnwares:
        try:
            found[learnware_id] = node.catalogue.find(parse_digest(learnware_id), now_ms())
        except AtollError as error:
            found[learnware_id] = FailureView(error.code, error.message, error.hint)
    return found


def _not_offered(listing: Listing) -> FailureView:
    return FailureView(
        PolicyDenied.code, f"{listing.semantic.name}: the owner does not offer you to download it",
        "ask the owner for it: `atoll learnware ask`",
    )  # fmt: skip
