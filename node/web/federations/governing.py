"""What the admins of a federation decide: revoking, appointing, dismissing, taking down and back; and pardoning here.

Each is asked first, on a page that says what will happen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import NamedTuple

from aiohttp import web
from atoll.node.api.governance import decree
from atoll.node.language import gettext
from atoll.node.web.answers import html
from atoll.node.web.federations.asked import federation_of, path_to, peer_key
from atoll.node.web.federations.facts import name_of, takedowns
from atoll.node.web.network.around import plain
from atoll.node.web.page import Page
from atoll.node.web.visit import Visit
from atoll.protocol.errors import NotFound, ProtocolError
from atoll.protocol.ids import parse_digest, peer_id

Handler = Callable[[Visit], Awaitable[web.Response]]


class Decision(NamedTuple):
    """What is decided about a member: the path, the act in the audit log and its field for the peer, the code of what
    is said afterwards."""

    path: str
    act: str
    field: str
    said: str


REVOKE = Decision("revoke", "federation.revoke", "peer_id", "revoked")
APPOINT = Decision("appoint", "federation.appoint", "peer_id", "appointed")
DISMISS = Decision("dismiss", "federation.dismiss", "peer", "dismissed")
PARDON = Decision("pardon", "federation.pardon", "peer", "pardoned")
DECISIONS = (REVOKE, APPOINT, DISMISS, PARDON)


def asking(decision: Decision) -> Handler:
    async def ask(visit: Visit) -> web.Response:
        id_, peer = federation_of(visit), visit.request.match_info["peer"]
        key = peer_key(peer)
        listings = visit.node.catalogue.of_owner(id_, key)
        return await html(
            visit, "federations/decide.html", decision=decision.path, federation=visit.node.federations.get(id_),
            peer=peer, name=_name(visit, id_, key), listings=len(listings),
        )  # fmt: skip

    return ask


def deciding(decision: Decision) -> Handler:
    async def decide(visit: Visit) -> web.Response:
        id_, peer = federation_of(visit), visit.request.match_info["peer"]
        key = peer_key(peer)
        await visit.fields()
        async with visit.noting(decision.act, id=id_.hex(), **{decision.field: peer}):
            await _decide(visit, decision, id_, key)
        raise web.HTTPSeeOther(path_to(id_, decision.said))

    return decide


async def ask_takedown(visit: Visit) -> web.Response:
    return await _takedown_page(visit, visit.request.query, {})


async def take_down(visit: Visit) -> web.Response:
    """Take a learnware down, or take that back, as the button says."""
    id_, fields = federation_of(visit), await visit.fields()
    owner, learnware, errors = _learnware(fields)
    if errors:
        return await _takedown_page(visit, fields, errors, 422)
    back = fields.get("back") == "yes"
    administration = visit.node.administration
    act = partial(administration.put_back if back else administration.take_down, id_, owner, learnware)
    subject = {"id": id_.hex(), "peer": peer_id(owner), "learnware": learnware.hex()}
    async with visit.noting("federation.putback" if back else "federation.takedown", **subject):
        await decree(visit.node, act)
    raise web.HTTPSeeOther(path_to(id_, "put-back" if back else "taken"))


async def _decide(visit: Visit, decision: Decision, id_: bytes, key: bytes) -> None:
    node = visit.node
    if decision is PARDON:
        await asyncio.to_thread(node.catalogue.pardon, id_, key)
        return
    administration = node.administration
    acts = {REVOKE: administration.revoke, APPOINT: administration.appoint, DISMISS: administration.dismiss}
    await decree(node, partial(acts[decision], id_, key))


async def _takedown_page(
    visit: Visit, fields: Mapping[str, str], errors: dict[str, str], status: int = 200
) -> web.Response:
    id_ = federation_of(visit)
    owner, learnware = fields.get("owner", "").strip(), fields.get("learnware", "").strip().lower()
    key, digest, wrong = _learnware(fields)
    known = "" if wrong else name_of(visit.node, id_, key, digest)
    taken = await asyncio.to_thread(takedowns, visit.node, id_)
    return await html(
        visit, "federations/takedowns.html", status=status, federation=visit.node.federations.get(id_),
        form=_TakedownForm(owner, learnware, errors), name=known, owner_name="" if wrong else _name(visit, id_, key),
        already=next((each for each in taken if (each.owner, each.learnware_id) == (owner, learnware)), None),
    )  # fmt: skip


class _TakedownForm(NamedTuple):
    owner: str
    learnware: str
    errors: Mapping[str, str]


def _learnware(fields: Mapping[str, str]) -> tuple[bytes, bytes, dict[str, str]]:
    """(key of the owner, learnware id, faults by field)."""
    owner, learnware, errors = b"", b"", dict[str, str]()
    try:
        owner = peer_key(fields.get("owner", "").strip())
    except NotFound:
        errors["owner"] = gettext("Not the id of a peer. Copy it from the learnware's page.")
    try:
        learnware = parse_digest(fields.get("learnware", "").strip().lower())
    except ProtocolError:
        errors["learnware"] = gettext("Not the id of a learnware: 64 hexadecimal digits.")
    return owner, learnware, errors


def _name(visit: Visit, id_: bytes, key: bytes) -> str:
    """What a member calls itself, as far as this node knows."""
    known = visit.node.peers.name(peer_id(key))
    if not known:
        with visit.node.federations.lock:
            certificate = visit.node.federations.roll(id_).certificate(key)
        known = certificate[0].name if certificate else ""
    return plain(known)


PAGES = (
    *(Page("GET", f"/federations/{{id}}/members/{{peer}}/{each.path}", asking(each), "admin") for each in DECISIONS),
    *(Page("POST", f"/federations/{{id}}/members/{{peer}}/{each.path}", deciding(each), "admin") for each in DECISIONS),
    Page("GET", "/federations/{id}/takedowns", ask_takedown, "admin"),
    Page("POST", "/federations/{id}/takedowns", take_down, "admin"),
)
