"""Downloads: packages that this node has fetched, or is told to fetch, one or a whole mixture, with progress."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from atoll.engine.errors import AtollError
from atoll.node.api.described import EVENTS, FILE_HEADERS, FILE_STATUSES, LINES, ZIP
from atoll.node.api.files import NO_HEADERS, sent
from atoll.node.api.ids import parse_digest
from atoll.node.api.routing import TOKEN, Route, read_json, reply, user_of
from atoll.node.api.streaming import follow, writer_of
from atoll.node.clock import now_ms
from atoll.node.errors import RequestInvalid
from atoll.node.reuse.result import Downloading
from atoll.node.store.dock import Learnware
from atoll.node.store.downloads import DownloadRow
from atoll.node.store.tokens import TokenRow
from atoll.node.telling import Telling
from atoll.protocol.errors import NotFound, PolicyDenied
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing

if TYPE_CHECKING:
    from atoll.node.app import Node

MOST = 30  # learnwares in one request
AT_ONCE = 4
ABSENT, FIRST = "no package of this revision is here for you", "POST it to /api/v1/downloads first"
ASK = "ask its owner for it: `atoll learnware ask`"


class DownloadBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some ``learnwares`` of the catalogue, or all members of the mixture of a search."""

    learnwares: tuple[str, ...] = ()
    search_id: str = ""


class DownloadView(msgspec.Struct, frozen=True):
    """A package that is here: ``sha256`` and ``size`` are those of its file; ``held`` is all that it takes on disk."""

    learnware_id: str
    revision: str
    name: str
    owner: str
    sha256: str
    size: int
    held: int
    used_at: int

    @classmethod
    def of(cls, revision: bytes, row: DownloadRow) -> DownloadView:
        owner = peer_id(row.owner) if row.owner else ""
        return cls(
            row.learnware_id.hex(), revision.hex(), row.name, owner, row.package.hex(), row.package_size, row.size,
            row.used_at,
        )  # fmt: skip


class FailureView(msgspec.Struct, frozen=True):
    """Why a learnware was not fetched."""

    learnware_id: str
    code: str
    detail: str
    hint: str | None = None

    @classmethod
    def of(cls, learnware_id: str, error: AtollError) -> FailureView:
        hint = ASK if error.code == PolicyDenied.code else error.hint  # an owner's refusal comes without
        return cls(learnware_id, error.code, error.message, hint)


class DownloadsView(msgspec.Struct, frozen=True):
    """``failed``, by learnware."""

    downloads: tuple[DownloadView, ...]
    failed: dict[str, FailureView]


async def index(node: Node, request: web.Request) -> web.Response:
    found = await asyncio.to_thread(node.downloads.all)
    return reply([DownloadView.of(revision, row) for revision, row in found if granted(request[TOKEN], row)])


async def fetch(node: Node, request: web.Request) -> web.StreamResponse:
    """Fetch what is not here yet; answered whole, or streamed: ``download`` (progress), ``fetched``, ``failed``, and
    last ``end`` with the whole answer. What is broken off goes on from there when it is asked for again."""
    body = await read_json(request, DownloadBody)
    fetching = Fetching(node, user_of(request), await asyncio.to_thread(_wanted, node, body, user_of(request)))
    async with asyncio.TaskGroup() as group:
        fetching.task = group.create_task(fetching.run())
        try:
            writer = writer_of(request)
            if writer is not None:
                return await follow(request, fetching, writer)
            await fetching.task
            return reply(fetching.answer)
        finally:
            fetching.task.cancel()


async def file(node: Node, request: web.Request) -> web.StreamResponse:
    """The package itself, a zip file, once it was fetched for this user; one of this dock is as others may download
    it, for whoever may publish, and for all where it is listed."""
    return await send_package(node, request, parse_digest(request.match_info["revision"]), request[TOKEN])


async def send_package(
    node: Node, request: web.Request, revision: bytes, token: TokenRow, more: Mapping[str, str] = NO_HEADERS
) -> web.StreamResponse:
    """As :func:`file`, with ``more`` headers."""
    row = await asyncio.to_thread(node.downloads.find, revision)
    if row is not None and row.package and granted(token, row):
        path, digest, name, id_ = node.downloads.path(row), row.package, row.name, row.learnware_id
    else:
        own = await asyncio.to_thread(_own, node, revision, token.allows("publish"))
        path, digest, name, id_ = node.dock.served_path(own), own.row.served, own.manifest.semantic.name, own.id
    named = file_name(name, id_.hex())
    try:
        response = await sent(request, path, digest.hex(), media_type="application/zip", name=named, more=more)
    except FileNotFoundError:  # it has made room for others since
        raise NotFound(ABSENT, hint=FIRST) from None
    node.downloads.released(revision)
    return response


async def forget(node: Node, request: web.Request) -> web.Response:
    await asyncio.to_thread(node.downloads.forget, parse_digest(request.match_info["revision"]))
    return web.Response(status=204)


def file_name(name: str, learnware_id: str) -> str:
    """What a package is called in a folder: words of its name, and the beginning of its id."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    return f"{words or 'learnware'}-{learnware_id[:12]}.zip"


class Fetching(Telling):
    """What a user wants: by learnware its listing, or why it cannot be had. ``run`` it in its task."""

    def __init__(self, node: Node, user: str, wanted: dict[str, Listing | FailureView]) -> None:
        super().__init__()
        self._node = node
        self._user = user
        self._wanted = wanted
        self._few = asyncio.Semaphore(AT_ONCE)
        self._done: list[DownloadView] = []
        self._failed: dict[str, FailureView] = {}

    @property
    def answer(self) -> DownloadsView:
        return DownloadsView(tuple(sorted(self._done, key=lambda each: each.learnware_id)), self._failed)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for learnware_id, listing in self._wanted.items():
                group.create_task(self._one(learnware_id, listing))
        self.emit("end", self.answer)

    async def _one(self, learnware_id: str, listing: Listing | FailureView) -> None:
        failure = listing if isinstance(listing, FailureView) else None
        if not isinstance(listing, FailureView):
            try:
                async with self._few:
                    self._done.append(await self._fetched(listing))
            except AtollError as error:
                failure = FailureView.of(learnware_id, error)
        if failure is None:
            self.emit("fetched", self._done[-1])
        else:
            self._failed[learnware_id] = failure
            self.emit("failed", failure)

    async def _fetched(self, listing: Listing) -> DownloadView:
        owner, id_ = peer_id(listing.owner), listing.learnware_id
        if owner == self._node.identity.peer:
            return await asyncio.to_thread(_of_dock, self._node, owner, id_)

        def progress(done: int, size: int) -> None:
            self.emit("download", Downloading(id_.hex(), done, size))

        row = await self._node.downloads.file(owner, listing, self._user, progress)
        return DownloadView.of(listing.revision, row)


def granted(token: TokenRow, row: DownloadRow) -> bool:
    """Whether its owner has given a package to this user of the node, or this is an administrator."""
    return token.id in row.users or token.allows("admin")


def _own(node: Node, revision: bytes, publishes: bool) -> Learnware:
    """Of this dock; NotFound where it is not listed, for those who may not publish."""
    for own in node.dock.all():
        if own.row.revision == revision:
            listed = any(
                (each.owner, each.revision) == (node.identity.public, revision)
                for each in node.catalogue.versions(own.id, now_ms())
            )
            if publishes or listed:
                return own
    raise NotFound(ABSENT, hint=FIRST)


def _of_dock(node: Node, owner: str, learnware_id: bytes) -> DownloadView:
    learnware = node.dock.get(learnware_id)
    size, row = node.dock.served_path(learnware).stat().st_size, learnware.row
    name = learnware.manifest.semantic.name
    return DownloadView(learnware_id.hex(), row.revision.hex(), name, owner, row.served.hex(), size, size, now_ms())


def _wanted(node: Node, body: DownloadBody, user: str) -> dict[str, Listing | FailureView]:
    """By learnware: what is to be fetched, or why it cannot be."""
    if bool(body.learnwares) == bool(body.search_id) or len(body.learnwares) > MOST:
        raise RequestInvalid(f"name a search, or 1 to {MOST} learnwares")
    found: dict[str, Listing | FailureView] = {}
    for member in node.searcher.session(body.search_id, user).members if body.search_id else ():
        offered = member.owner == node.identity.peer or "download" in member.may
        found[member.id] = member.listing if offered else _not_offered(member.listing)
    for learnware_id in body.learnwares:
        try:
            found[learnware_id] = node.catalogue.find(parse_digest(learnware_id), now_ms())
        except AtollError as error:
            found[learnware_id] = FailureView.of(learnware_id, error)
    return found


def _not_offered(listing: Listing) -> FailureView:
    name = listing.semantic.name
    error = PolicyDenied(f"{name}: the owner does not offer you to download it")
    return FailureView.of(listing.learnware_id.hex(), error)


ROUTES = (
    Route("GET", "/api/v1/downloads", index, "predict", "Packages fetched for this user", result=list[DownloadView]),
    Route(
        "POST", "/api/v1/downloads", fetch, "predict", "Fetch learnwares, or all of a search's mixture",
        DownloadBody, DownloadsView, act="download.fetch", noted=("learnwares", "search_id"),
        gives=(EVENTS, LINES), reaches=True,
    ),
    Route("GET", "/api/v1/downloads/{revision}", file, "predict", "A package that is here, as a file",
          headers=FILE_HEADERS, gives=(ZIP,), more=FILE_STATUSES),
    Route("DELETE", "/api/v1/downloads/{revision}", forget, "admin", "Remove it", act="download.forget",
          status=204),
)  # fmt: skip
