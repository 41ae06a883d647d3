"""Packages of Beimingwu's, of all that the federation lets a user download: what came as one goes out byte for byte,
what was made here is written as one, with its specification if its owner discloses that."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web
from atoll.engine.beimingwu.exporting import export_package
from atoll.engine.packages import open_package
from atoll.node.api import acts
from atoll.node.api.beimingwu import names
from atoll.node.api.beimingwu.disclosed import with_specifications
from atoll.node.api.beimingwu.scratch import scratch
from atoll.node.api.downloads import file_name
from atoll.node.api.files import sent
from atoll.node.api.routing import TOKEN, Route, user_of
from atoll.node.clock import now_ms
from atoll.node.store.blobs import hash_of
from atoll.protocol.errors import NotFound
from atoll.protocol.ids import peer_id

if TYPE_CHECKING:
    from atoll.node.app import Node


async def download(node: Node, request: web.Request) -> web.StreamResponse:
    """The zip, once it is fetched and checked; errors are problems, as elsewhere."""
    user = user_of(request)
    learnware_id = await asyncio.to_thread(names.find, node, request.query.get("learnware_id", ""), user)
    async with scratch(node.blobs) as whole, scratch(node.blobs) as zipped:
        name = await _whole(node, request, learnware_id, user, Path(whole.name))
        target = Path(zipped.name)
        await asyncio.to_thread(_export, node, Path(whole.name), target)
        digest = await asyncio.to_thread(hash_of, target)
        return await sent(
            request, target, digest.hex(), media_type="application/zip", name=file_name(name, learnware_id.hex())
        )


async def _whole(node: Node, request: web.Request, learnware_id: bytes, user: str, target: Path) -> str:
    """Write the package, with what specifications this node may know, to ``target``; its name."""
    own = node.dock.find(learnware_id)
    if own is not None:
        listed = any(each.owner == node.identity.public for each in node.catalogue.versions(own.id, now_ms()))
        if not listed and not {"publish", "admin"} & {*request[TOKEN].scopes}:
            raise NotFound("this learnware is not listed", hint=names.HINT)
        await asyncio.to_thread(node.dock.write_whole, own, target)
        return own.manifest.semantic.name
    listing = node.catalogue.find(learnware_id, now_ms())
    owner = peer_id(listing.owner)
    subject = {"learnwares": learnware_id.hex()}
    async with acts.noting(node.audit, request[TOKEN], "download.fetch", subject):
        row = await node.downloads.file(owner, listing, user)
        await with_specifications(node, listing, user, node.downloads.path(row), target)
        node.downloads.released(listing.revision)
    return listing.semantic.name


def _export(node: Node, whole: Path, target: Path) -> None:
    islands = {island.id: island for island in node.catalogue.islands()}
    with open_package(whole, specifications=False) as package:
        export_package(package, islands, target)


ROUTES = (
    Route(
        "GET", "/beimingwu/engine/download_learnware", download, "predict",
        "A learnware as a package of Beimingwu's, fetched from its owner under its policy",
    ),
)  # fmt: skip
