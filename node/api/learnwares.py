"""Learnwares of this dock, and listings of the whole catalogue."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import msgspec
from aiohttp import web
from atoll.node.acceptance.submissions import LabelledRows
from atoll.node.api.acts import MORE
from atoll.node.api.described import BYTES, Field
from atoll.node.api.ids import parse_digest
from atoll.node.api.routing import Route, read_json, reply, user_of
from atoll.node.api.scratch import scratch
from atoll.node.clock import now_ms
from atoll.node.errors import PackageRefused, RequestInvalid
from atoll.node.policy import noted
from atoll.node.store.dock import Learnware
from atoll.protocol.errors import NotFound
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing, Offers, State
from atoll.protocol.policy import Policy

if TYPE_CHECKING:
    from atoll.node.app import Node

PAGE = 100
DECIDED_SECONDS = 60.0


class ListingView(msgspec.Struct, frozen=True):
    """A listing as shown to people."""

    learnware_id: str
    revision: str
    owner: str
    owner_name: str
    federation: str
    name: str
    description: str
    task: str
    class_names: tuple[str, ...]
    islands: tuple[str, ...]
    offers: Offers
    issued_at: int


class ListingPage(msgspec.Struct, frozen=True):
    """``cursor`` is opaque; pass it on for the next page, None ends."""

    items: tuple[ListingView, ...]
    total: int
    cursor: str | None


class LearnwareView(msgspec.Struct, frozen=True):
    """A learnware of this dock: what it is ``listed`` for in which federation, and where that is ``paused``."""

    learnware_id: str
    revision: str
    name: str
    islands: tuple[str, ...]
    listed: dict[str, Offers]
    paused: tuple[str, ...] = ()


class StateBody(msgspec.Struct, frozen=True):
    """What is paused stays listed, and nobody may do anything with it until it is live again."""

    federation: str
    state: State


class Publication(msgspec.Struct, frozen=True):
    """Where to list a learnware, and what to offer there.

    ``policy`` is the whole policy, ``offers`` one without named peers and quotas, for when there is none. ``few_rows``
    is the owner's word that a specification of fewer than 300 rows may go into an open federation.
    """

    federation: str
    offers: Offers = Offers()
    few_rows: bool = False
    policy: Policy | None = None


async def catalogue(node: Node, request: web.Request) -> web.Response:
    """Live listings, ordered by (federation, owner, learnware id)."""
    listings = node.catalogue.alive(now_ms())
    keys = [listing.federation.hex() + listing.owner.hex() + listing.learnware_id.hex() for listing in listings]
    after = request.query.get("cursor", "")
    rest = [(key, listing) for key, listing in sorted(zip(keys, listings, strict=True)) if key > after]
    cursor = rest[PAGE - 1][0] if len(rest) > PAGE else None
    return reply(ListingPage(tuple(_listing(node, each) for _, each in rest[:PAGE]), len(listings), cursor))


async def index(node: Node, request: web.Request) -> web.Response:
    return reply([_learnware(node, learnware) for learnware in node.dock.all()])


async def add(node: Node, request: web.Request) -> web.Response:
    """Upload a package (the body, as bytes) and wait for its checks; PackageRefused says what failed."""
    async with scratch(node.blobs) as file:
        await _receive(request, file, node.config.http.max_upload_bytes)
        digest = await asyncio.to_thread(node.acceptance.uploads.take, Path(file.name))
    return reply(_learnware(node, await accepted(node, digest, user_of(request))), status=201)


async def accepted(node: Node, digest: bytes, user: str, labelled: LabelledRows | None = None) -> Learnware:
    """What was uploaded under this SHA-256, once it is checked, measured on what is ``labelled``, and taken in;
    PackageRefused says what failed."""
    row = await node.acceptance.submit(digest, user, labelled)
    while row.open:
        row = await node.acceptance.decided(row.id, DECIDED_SECONDS)
    if row.report is not None and row.state == "refused":
        raise PackageRefused(row.report.words, hint="`atoll learnware check` tells the same before an upload")
    return node.dock.get(row.learnware_id)


async def show(node: Node, request: web.Request) -> web.Response:
    learnware_id = parse_digest(request.match_info["id"])
    try:
        return reply(_learnware(node, node.dock.get(learnware_id)))
    except NotFound:
        return reply(_listing(node, node.catalogue.find(learnware_id, now_ms())))


async def publish(node: Node, request: web.Request) -> web.Response:
    """List a learnware in a federation, or change what is offered there; the change is gossiped."""
    body = await read_json(request, Publication)
    learnware_id, federation = parse_digest(request.match_info["id"]), parse_digest(body.federation)
    policy = body.policy or Policy.of(body.offers)
    await list_in(node, learnware_id, federation, policy, request[MORE], few_rows=body.few_rows)
    return reply(_learnware(node, node.dock.get(learnware_id)))


async def list_in(
    node: Node, learnware_id: bytes, federation: bytes, policy: Policy, more: dict[str, str], *, few_rows: bool = False
) -> None:
    """List it, once the logs are level with the peers', and tell them; a draft of it ends. ``more`` is told the policy,
    and what it takes the place of, be it that it is refused."""
    node.federations.get(federation)
    await node.network.settled()
    known = node.catalogue.listing(federation, node.identity.public, learnware_id)
    more |= noted.change(policy, node.gate.policy(known) if known is not None else None)
    if few_rows:
        more["few_rows"] = "yes"
    listing = partial(node.publisher.publish, learnware_id, federation, policy, now_ms(), few_rows=few_rows)
    await node.network.announce(await asyncio.to_thread(listing))
    await asyncio.to_thread(_end_drafts, node, learnware_id)


def _end_drafts(node: Node, learnware_id: bytes) -> None:
    """What has become this learnware, and is listed now, is no draft any more."""
    rows = node.acceptance.all()
    accepted = {row.id.hex(): row.by for row in rows if row.state == "accepted" and row.learnware_id == learnware_id}
    for user in set(accepted.values()):
        for draft in node.drafts.all(user):
            if draft.submission in accepted:
                node.drafts.delete(draft)


async def set_state(node: Node, request: web.Request) -> web.Response:
    """Pause a listing, or let it live again; the change is gossiped."""
    body = await read_json(request, StateBody)
    learnware_id, federation = parse_digest(request.match_info["id"]), parse_digest(body.federation)
    await change_state(node, learnware_id, federation, body.state)
    return reply(_learnware(node, node.dock.get(learnware_id)))


async def change_state(node: Node, learnware_id: bytes, federation: bytes, state: State) -> None:
    """As :func:`set_state`; NotFound unless it is in this dock, and listed there."""
    node.dock.get(learnware_id)
    await node.network.settled()
    news = await asyncio.to_thread(node.publisher.set_state, learnware_id, federation, state, now_ms())
    await node.network.announce(news)


async def unlist(node: Node, request: web.Request) -> web.Response:
    """Withdraw from one federation; the change is gossiped, and the learnware stays in the dock."""
    await withdraw_from(node, parse_digest(request.match_info["id"]), parse_digest(request.match_info["federation"]))
    return web.Response(status=204)


async def withdraw_from(node: Node, learnware_id: bytes, federation: bytes) -> None:
    """As :func:`unlist`; NotFound unless it is in this dock, and listed there."""
    node.dock.get(learnware_id)
    await node.network.settled()
    await node.network.announce(await asyncio.to_thread(node.publisher.withdraw, learnware_id, federation, now_ms()))


async def remove(node: Node, request: web.Request) -> web.Response:
    """Withdraw from every federation, then from the dock."""
    await withdraw(node, parse_digest(request.match_info["id"]))
    return web.Response(status=204)


async def withdraw(node: Node, learnware_id: bytes) -> None:
    """As :func:`remove`; NotFound unless it is in this dock."""
    node.dock.get(learnware_id)
    await node.network.settled()
    for listing in node.publisher.listed_in(learnware_id):
        await withdraw_from(node, learnware_id, listing.federation)
    await asyncio.to_thread(node.dock.remove, learnware_id)


async def _receive(request: web.Request, file: IO[bytes], limit: int) -> None:
    size = 0
    async for chunk in request.content.iter_chunked(1 << 16):
        size += len(chunk)
        if size > limit:
            raise RequestInvalid(f"the package is larger than {limit} bytes")
        await asyncio.to_thread(file.write, chunk)
    await asyncio.to_thread(file.close)


def _listing(node: Node, listing: Listing) -> ListingView:
    owner = peer_id(listing.owner)
    return ListingView(
        learnware_id=listing.learnware_id.hex(),
        revision=listing.revision.hex(),
        owner=owner,
        owner_name=node.peers.name(owner),
        federation=listing.federation.hex(),
        name=listing.semantic.name,
        description=listing.semantic.description,
        task=listing.semantic.task,
        class_names=listing.class_names,
        islands=tuple(spec.island.hex() for spec in listing.specifications),
        offers=listing.offers,
        issued_at=listing.issued_at,
    )


def _learnware(node: Node, learnware: Learnware) -> LearnwareView:
    listings = node.publisher.listed_in(learnware.id)
    return LearnwareView(
        learnware.id.hex(),
        learnware.row.revision.hex(),
        learnware.manifest.semantic.name,
        tuple(island.hex() for island in learnware.specifications),
        {each.federation.hex(): each.offers for each in listings},
        tuple(each.federation.hex() for each in listings if each.status == "paused"),
    )


CURSOR = Field("cursor", Annotated[str, msgspec.Meta(max_length=400)], "that of the page before")
ROUTES = (
    Route("GET", "/api/v1/catalogue", catalogue, "read", "Every live listing this node knows", result=ListingPage,
          query=(CURSOR,)),
    Route("GET", "/api/v1/learnwares", index, "read", "The learnwares of this dock", result=list[LearnwareView]),
    Route("POST", "/api/v1/learnwares", add, "publish", "Upload a package", result=LearnwareView, act="learnware.add",
          takes=BYTES, status=201),
    Route("GET", "/api/v1/learnwares/{id}", show, "read", "One learnware, of this dock or of the catalogue",
          result=(LearnwareView, ListingView)),
    Route(
        "PUT", "/api/v1/learnwares/{id}/listing", publish, "publish", "List it in a federation with a policy",
        Publication, LearnwareView, act="learnware.publish", noted=("federation",),
    ),
    Route(
        "PUT", "/api/v1/learnwares/{id}/listing/state", set_state, "publish", "Pause a listing, or let it live again",
        StateBody, LearnwareView, act="learnware.state", noted=("federation", "state"),
    ),
    Route(
        "DELETE", "/api/v1/learnwares/{id}/listing/{federation}", unlist, "publish", "Withdraw it from a federation",
        act="learnware.withdraw",
        status=204,
    ),
    Route("DELETE", "/api/v1/learnwares/{id}", remove, "publish", "Withdraw and remove", act="learnware.remove",
          status=204),
)  # fmt: skip
