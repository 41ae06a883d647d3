"""What users upload, change and take away: packages of Beimingwu's, taken in by the checks of this dock, and listed."""

from __future__ import annotations

import asyncio
import secrets
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from aiohttp import web
from atoll.engine.beimingwu.importing import Imported, import_package
from atoll.engine.beimingwu.semantic import Words, read_semantic
from atoll.engine.errors import AtollError
from atoll.engine.packages.revise import revise
from atoll.node.api import acts
from atoll.node.api.beimingwu import listing, names, views
from atoll.node.api.beimingwu.envelope import Envelope, answer
from atoll.node.api.beimingwu.forms import Held, Room, Written, read_form
from atoll.node.api.described import Field
from atoll.node.api.islands import known_islands
from atoll.node.api.learnwares import accepted, list_in, withdraw
from atoll.node.api.routing import Route, read_json, user_of
from atoll.node.api.scratch import in_threads, scratch
from atoll.node.clock import now_ms
from atoll.node.errors import RequestInvalid
from atoll.node.policy.checking import check_policy
from atoll.node.store.dock import Learnware
from atoll.protocol.policy import Policy

if TYPE_CHECKING:
    from atoll.node.app import Node

MAX_CHUNK = 16 << 20
CHUNK, FILE = "chunk_file", "learnware_file"
CHUNK_FIELDS = ("file_hash", "chunk_begin")
UPDATE_FIELDS = ("learnware_id", "semantic_specification")


class AddBody(msgspec.Struct, frozen=True):
    """The MD5 (hex) of what was uploaded, and the semantic specification as JSON text."""

    file_hash: str
    semantic_specification: str


class IdBody(msgspec.Struct, frozen=True):
    """An id or an alias."""

    learnware_id: str


class PageBody(msgspec.Struct, frozen=True):
    """``page`` counts from 0."""

    page: int = 0
    limit: int = 10


async def upload(node: Node, request: web.Request) -> web.Response:
    """A chunk; it is kept only if all of it has come."""
    chunk = Held(Room(MAX_CHUNK, "send smaller chunks"))
    form = await read_form(request, CHUNK_FIELDS, {CHUNK: chunk.put})
    md5, begin = form.require("file_hash"), form.number("chunk_begin")
    if CHUNK not in form.files:
        raise RequestInvalid(f"the form has no file {CHUNK}")
    put = partial(node.chunked.put, user_of(request), md5, begin, chunk.data, now_ms() / 1000)
    return answer({"received": await asyncio.to_thread(put)})


async def add(node: Node, request: web.Request) -> web.Response:
    """Have an upload checked, take it in, and list it; PackageRefused says what failed."""
    body = await read_json(request, AddBody)
    federation = listing.federation_of(node.federations.all(), node.config.beimingwu.federation)
    semantic = body.semantic_specification.encode("utf-8", "replace")
    words = await asyncio.to_thread(read_semantic, semantic)  # first: the upload need not come again for words
    listing.require_listable(words)
    async with in_threads(node.chunked.taken(user_of(request), body.file_hash.strip())) as source:
        learnware, notes = await _taken_in(node, source, user_of(request), semantic)
    acts.note(request, id=learnware.id.hex(), federation=federation.hex())
    policy = Policy.of(listing.offers_of(node.config.beimingwu, learnware.manifest))
    try:
        await list_in(node, learnware.id, federation, policy, request[acts.MORE])
    except AtollError:
        await withdraw(node, learnware.id)  # what cannot be listed was not uploaded
        raise
    return answer({"learnware_id": learnware.id.hex()}, "; ".join(notes) or "success")


async def update(node: Node, request: web.Request) -> web.Response:
    """Another revision of an own learnware: with a file, of all of it, and without, of its words."""
    async with scratch(node.blobs) as file:
        written = Written(file, Room(node.config.http.max_upload_bytes, "see http.max_upload_bytes"))
        form = await read_form(request, UPDATE_FIELDS, {FILE: written.put})
        await asyncio.to_thread(written.flush)
        given, semantic = form.require("learnware_id"), form.require("semantic_specification").encode()
        acts.note(request, id=given)
        old = node.dock.get(await asyncio.to_thread(names.find_own, node, given))
        listing.require_listable(await asyncio.to_thread(read_semantic, semantic))
        if FILE in form.files:
            learnware, notes = await _taken_in(node, written.path, user_of(request), semantic, old)
        else:
            learnware, notes = await _reworded(node, old, semantic, user_of(request))
    await _list_anew(node, learnware)
    return answer({"learnware_id": learnware.id.hex()}, "; ".join(notes) or "success")


async def delete(node: Node, request: web.Request) -> web.Response:
    """Withdraw from every federation, then from the dock."""
    body = await read_json(request, IdBody)
    learnware_id = await asyncio.to_thread(names.find_own, node, body.learnware_id)
    await withdraw(node, learnware_id)
    return answer({"learnware_id": learnware_id.hex()})


async def index(node: Node, request: web.Request) -> web.Response:
    """The learnwares of this dock."""
    body = await read_json(request, PageBody)
    if body.page < 0 or body.limit < 1:
        raise RequestInvalid("page counts from 0, limit from 1")
    own, peer = node.dock.all(), node.identity.peer
    shown = [
        views.of_manifest(each.manifest, each.id, peer, node.peers.name(peer))
        for each in views.page_of(own, body.page, body.limit)
    ]
    return answer(
        {
            "learnware_list": msgspec.to_builtins(shown),
            "page": body.page,
            "limit": body.limit,
            "total_pages": views.pages(len(own), body.limit),
        }
    )


async def _taken_in(
    node: Node, source: Path, user: str, semantic: bytes, old: Learnware | None = None
) -> tuple[Learnware, tuple[str, ...]]:
    """The zip as a learnware of this dock, a later revision of ``old``, once it has passed the checks; and notes."""
    async with scratch(node.blobs) as file:
        target = Path(file.name)
        imported = await asyncio.to_thread(import_zip, node, source, target, semantic, old)
        digest = await asyncio.to_thread(node.acceptance.uploads.take, target)
    return await accepted(node, digest, user), imported.notes


async def _list_anew(node: Node, learnware: Learnware) -> None:
    """Where it is listed as it was before, which the queue's try may have left so; what is wrong is told."""
    for known in node.publisher.listed_in(learnware.id):
        if known.revision != learnware.row.revision:
            same = node.publisher.specified_as(learnware.id, known)
            more = dict[str, str]()  # the policy stays
            await list_in(node, learnware.id, known.federation, node.gate.policy(known), more, few_rows=same)


def import_zip(node: Node, source: Path, target: Path, semantic: bytes | None, old: Learnware | None) -> Imported:
    """Write the package to ``target``; its islands are known here then."""
    imported = import_package(
        source, target, owner=node.identity.peer, created_at=now_ms(), salt=partial(secrets.token_bytes, 16),
        islands=known_islands(node), semantic=semantic,
        alias=(old.manifest.alias or None) if old else None, learnware_id=old.id.hex() if old else None,
        scratch=target.parent,
    )  # fmt: skip
    for known in node.publisher.listed_in(old.id) if old else ():
        check_policy(node.gate.policy(known), imported.manifest)  # before it is taken in: it could not be listed anew
    for island in imported.islands:
        node.catalogue.add_island(island)
    return imported


async def _reworded(node: Node, old: Learnware, semantic: bytes, user: str) -> tuple[Learnware, tuple[str, ...]]:
    """The same learnware under other words; what has not changed is no error."""
    words = await asyncio.to_thread(read_semantic, semantic)
    listing.require_same_shape(words, old.manifest)
    if words.spec == old.manifest.semantic:
        return old, ("nothing has changed",)
    async with scratch(node.blobs) as file:
        target = Path(file.name)
        await asyncio.to_thread(_revise, node, old, words, target)
        digest = await asyncio.to_thread(node.acceptance.uploads.take, target)
    return await accepted(node, digest, user), words.notes


def _revise(node: Node, old: Learnware, words: Words, target: Path) -> None:
    with node.blobs.growing() as file:
        whole = Path(file.name)
        node.dock.write_whole(old, whole)
        revise(whole, target, semantic=words.spec)


Md5 = Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{32}$")]
UPLOAD = (
    Field("file_hash", Md5, "the MD5 of the whole", required=True),
    Field("chunk_begin", Annotated[int, msgspec.Meta(ge=0)], "where the chunk begins", required=True),
    Field(CHUNK, bytes, "the chunk", required=True),
)
UPDATE = (
    Field("learnware_id", str, "an id or an alias", required=True),
    Field("semantic_specification", str, "its words, as JSON", required=True),
    Field(FILE, bytes, "a package of Beimingwu's; without one only the words change"),
)
ROUTES = (
    Route(
        "POST", "/beimingwu/user/chunked_upload", upload, "publish",
        "A chunk of an upload, as Beimingwu's client sends it: a form with file_hash (MD5), chunk_begin, and the file "
        "chunk_file",
        act="beimingwu.upload", result=Envelope, enveloped=True,
        form=UPLOAD,
    ),
    Route(
        "POST", "/beimingwu/user/add_learnware_uploaded", add, "publish",
        "Take in what was uploaded, a package of Beimingwu's, and list it", AddBody,
        act="beimingwu.add", noted=("file_hash",), result=Envelope, enveloped=True,
    ),
    Route(
        "POST", "/beimingwu/user/update_learnware", update, "publish",
        "A later revision: a form with learnware_id, semantic_specification, and the file learnware_file or none",
        act="beimingwu.update", result=Envelope, enveloped=True,
        form=UPDATE,
    ),
    Route(
        "POST", "/beimingwu/user/delete_learnware", delete, "publish", "Withdraw and remove, by id or alias", IdBody,
        act="beimingwu.delete", noted=("learnware_id",), result=Envelope, enveloped=True,
    ),
    Route(
        "POST", "/beimingwu/user/list_learnware", index, "publish", "The learnwares of this dock", PageBody,
        result=Envelope, enveloped=True,
    ),
)  # fmt: skip
