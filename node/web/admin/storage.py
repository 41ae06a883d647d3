"""What the home takes on disk, part by part; downloads to forget, drafts to delete; a backup to take away."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web
from atoll.node.api import backup
from atoll.node.language import later
from atoll.node.store.environment import Space
from atoll.node.web.admin.attention import free_of
from atoll.node.web.answers import html
from atoll.node.web.headers import HEADERS
from atoll.node.web.page import Page
from atoll.node.web.paging import paged
from atoll.node.web.publish.drafts import AT_A_TIME, IN_ALL
from atoll.node.web.publish.steps import WAYS
from atoll.node.web.visit import Visit
from atoll.protocol.ids import parse_digest, peer_id

if TYPE_CHECKING:
    from atoll.node.app import Node

PAGE = 25
SAID = {
    "forgotten": later("The download is removed. It is fetched again when somebody needs it."),
    "deleted": later("The draft is deleted."),
}
SECONDS = 2.0  # for adding up files; what is larger is said to be at least so much
FOLDERS = {
    "store": later("The store: catalogue, policies, tokens, audit log"),
    "blobs": later("Packages, models and specifications, of this dock and downloaded"),
    "environments": later("Environments of Python code, built again when they are needed"),
    "unpacked": later("Learnwares in Beimingwu's format, unpacked to run"),
    "drafts": later("What is being published, until it is in the dock or a day has passed"),
    "reuse": later("Rows and predictions of users, until they are forgotten"),
}


class Folder(NamedTuple):
    """Of the home; ``whole`` is False where adding it up would take too long: then it is at least so large."""

    name: str
    words: str
    bytes: int
    files: int
    whole: bool


class Storage(NamedTuple):
    """``free`` and ``disk`` in bytes."""

    space: Space
    folders: list[Folder]
    free: int
    disk: int


async def show(visit: Visit) -> web.Response:
    node = visit.node
    found = await asyncio.to_thread(_storage, node)
    downloads = await asyncio.to_thread(node.downloads.all)
    rows, paging = paged(downloads, visit.request, PAGE)
    return await html(
        visit, "admin/storage.html", tab="/admin/storage", storage=found, rows=rows, paging=paging, peer_id=peer_id,
        held=sum(row.size for _, row in downloads), quota=node.downloads.quota, said=visit.said(SAID),
        drafts=await asyncio.to_thread(node.drafts.takings), ways=WAYS, each=AT_A_TIME,
        most=IN_ALL, owners={row.id: row.name for row in await asyncio.to_thread(node.tokens.all)},
    )  # fmt: skip


async def forget(visit: Visit) -> web.Response:
    await visit.fields()
    revision = visit.request.match_info["revision"]
    async with visit.noting("download.forget", revision=revision):
        await asyncio.to_thread(visit.node.downloads.forget, parse_digest(revision))
    raise web.HTTPSeeOther("/admin/storage?said=forgotten#downloads")


async def delete_draft(visit: Visit) -> web.Response:
    """Whosever it is."""
    await visit.fields()
    id_ = visit.request.match_info["id"]
    async with visit.noting("draft.delete", id=id_) as more:
        more["owner"] = (await asyncio.to_thread(visit.node.drafts.remove, id_)).owner
    raise web.HTTPSeeOther("/admin/storage?said=deleted#drafts")


async def take_away(visit: Visit) -> web.StreamResponse:
    """A form and no link, since the node's key is in it: no address that somebody may be lured to gives it away."""
    fields = await visit.fields()
    async with visit.noting("node.backup"):
        return await backup.made(visit.node, visit.request, with_key=fields.get("key") == "with", more=HEADERS)


def _storage(node: Node) -> Storage:
    until = time.monotonic() + SECONDS
    folders = [_folder(node.home / name, words, until) for name, words in FOLDERS.items()]
    return Storage(node.store.space(), folders, *free_of(node.home))


def _folder(path: Path, words: str, until: float) -> Folder:
    """What is in use of its files: a store is longer than it takes."""
    taken, files = 0, 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                stat = os.lstat(os.path.join(folder, name))
            except OSError:  # removed since
                continue
            taken, files = taken + 512 * stat.st_blocks, files + 1
        if time.monotonic() > until:
            return Folder(path.name, words, taken, files, whole=False)
    return Folder(path.name, words, taken, files, whole=True)


PAGES = (
    Page("GET", "/admin/storage", show, "admin"),
    Page("POST", "/admin/storage/downloads/{revision}/forget", forget, "admin"),
    Page("POST", "/admin/storage/drafts/{id}/delete", delete_draft, "admin"),
    Page("POST", "/admin/storage/backup", take_away, "admin"),
)
