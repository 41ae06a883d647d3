"""Packages of Beimingwu's, of all that the federation lets a user download: what came as one goes out byte for byte,
what was made here is written as one, with its specification if its owner discloses that."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web
from atoll.engine.beimingwu.exporting import export_package
from atoll.engine.packages import open_package
from atoll.engine.runtime.formats import BEIMINGWU
from atoll.node.api import acts
from atoll.node.api.beimingwu import names
from atoll.node.api.beimingwu.disclosed import not_disclosed, with_specification
from atoll.node.api.beimingwu.search import CALLED
from atoll.node.api.described import FILE_HEADERS, FILE_STATUSES, ZIP
from atoll.node.api.downloads import file_name
from atoll.node.api.files import sent
from atoll.node.api.routing import TOKEN, Route, user_of
from atoll.node.api.scratch import scratch
from atoll.node.clock import now_ms
from atoll.node.errors import NodeBusy
from atoll.node.store.blobs import hash_of
from atoll.node.store.dock import Learnware
from atoll.protocol.errors import NotFound
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing
from atoll.protocol.policy import promised

if TYPE_CHECKING:
    from atoll.node.app import Node

ACT = "download.fetch"
AT_ONCE = 8  # zips that lie on the disk while they are sent
PLACES: web.AppKey[asyncio.Semaphore] = web.AppKey("exports")


async def download(node: Node, request: web.Request) -> web.StreamResponse:
    """The zip, once it is fetched and checked; errors are problems, as elsewhere."""
    given = request.query.get("learnware_id", "")
    learnware_id = await asyncio.to_thread(names.find, node, given, names.Reader.of(request))
    places = request.app[PLACES]
    if places.locked():
        raise NodeBusy(f"{AT_ONCE} packages are being sent", hint="try again in a minute")
    async with places, AsyncExitStack() as held:
        try:
            path, name = await _exported(node, request, learnware_id, held)
        except FileNotFoundError:
            raise NotFound("the package was removed meanwhile", hint="try again, or search for another") from None
        digest = await asyncio.to_thread(hash_of, path)
        return await sent(
            request, path, digest.hex(), media_type="application/zip", name=file_name(name, learnware_id.hex())
        )


async def _exported(node: Node, request: web.Request, learnware_id: bytes, held: AsyncExitStack) -> tuple[Path, str]:
    """The zip, which is there as long as ``held``, and the name of the learnware."""
    own = node.dock.find(learnware_id)
    target = Path((await held.enter_async_context(scratch(node.blobs))).name)
    if own is not None:
        path = await _of_dock(node, request, own, held)
        await asyncio.to_thread(_export, node, path, target)
        return target, own.manifest.semantic.name
    listing = _offered(node, learnware_id, user_of(request))
    path = await _fetched(node, request, listing, held)
    await asyncio.to_thread(_export, node, path, target)
    node.downloads.released(listing.revision)
    return target, listing.semantic.name


def _offered(node: Node, learnware_id: bytes, user: str) -> Listing:
    """Of the listings under this id one that offers the download, or whose owner may still allow it; of several, and
    of several owners who claim the id, the one that has been known for longest. NotFound if there is none."""
    versions = node.catalogue.versions(learnware_id, now_ms())
    if not versions:
        raise NotFound(f"no learnware {learnware_id.hex()} in the catalogue", hint=names.HINT)
    return min(
        versions, key=lambda each: ("download" not in promised(each.offers, user), node.catalogue.first_seen(each))
    )


async def _of_dock(node: Node, request: web.Request, own: Learnware, held: AsyncExitStack) -> Path:
    """The package, whole, unless it came from Beimingwu and so holds its specification itself: for whoever may publish,
    and for all to whom that is disclosed where it is listed."""
    _require_disclosed(node, request, own)
    async with acts.noting(node.audit, request[TOKEN], ACT, {"learnwares": own.id.hex()}):
        if own.manifest.model_format == BEIMINGWU:
            return node.dock.served_path(own)
        whole = Path((await held.enter_async_context(scratch(node.blobs))).name)
        await asyncio.to_thread(node.dock.write_whole, own, whole)
        return whole


def _require_disclosed(node: Node, request: web.Request, own: Learnware) -> None:
    if names.Reader.of(request).publishes:
        return
    versions = node.catalogue.versions(own.id, now_ms())
    offers = [each.offers for each in versions if each.owner == node.identity.public]
    if not offers:
        raise NotFound("this learnware is not listed", hint=names.HINT)
    if not any("disclose" in promised(each, user_of(request)) for each in offers):
        raise not_disclosed(own.manifest.semantic.name)


async def _fetched(node: Node, request: web.Request, listing: Listing, held: AsyncExitStack) -> Path:
    """The package of another owner, with a specification, unless it came from Beimingwu and so holds that itself. It is
    an act: it counts there."""
    user = user_of(request)
    async with acts.noting(node.audit, request[TOKEN], ACT, {"learnwares": listing.learnware_id.hex()}):
        row = await node.downloads.file(peer_id(listing.owner), listing, user)
        served = node.downloads.path(row)
        if await asyncio.to_thread(_format, served) == BEIMINGWU:
            return served
        whole = Path((await held.enter_async_context(scratch(node.blobs))).name)
        await with_specification(node, listing, user, served, whole)
        return whole


def _format(served: Path) -> str:
    with open_package(served, specifications=False) as package:
        return package.manifest.model_format


def _export(node: Node, path: Path, target: Path) -> None:
    islands = {island.id: island for island in node.catalogue.islands()}
    with open_package(path, specifications=False) as package:
        export_package(package, islands, target, scratch=target.parent)


ROUTES = (
    Route(
        "GET", "/beimingwu/engine/download_learnware", download, "predict",
        "A learnware as a package of Beimingwu's, fetched from its owner under its policy",
        query=(CALLED,), headers=FILE_HEADERS, gives=(ZIP,), more=FILE_STATUSES, reaches=True,
    ),
)  # fmt: skip
