"""Federations: those this node is in, founding and joining one, and the page of each; renewing and leaving."""

from __future__ import annotations

import asyncio

from aiohttp import web
from atoll.engine.errors import AtollError
from atoll.node.api import federations
from atoll.node.api.federations import FederationBody
from atoll.node.clock import now_ms
from atoll.node.errors import outcome
from atoll.node.language import later
from atoll.node.web.answers import html, sentence
from atoll.node.web.federations import governing, inviting
from atoll.node.web.federations.asked import SAID, federation_of, path_to
from atoll.node.web.federations.facts import facts, overviews
from atoll.node.web.federations.forms import FoundForm, JoinForm
from atoll.node.web.network.around import WORDS, lag_words
from atoll.node.web.page import Page
from atoll.node.web.paging import paged
from atoll.node.web.visit import Visit

MEMBERS = 50
LEFT = {"left": later("This node has left the federation, and what it listed there is withdrawn.")}


async def index(visit: Visit) -> web.Response:
    return await _list(visit, FoundForm(), JoinForm())


async def found(visit: Visit) -> web.Response:
    """Found a federation with this node as its admin: to its page."""
    form = FoundForm.read(await visit.fields())
    if form.errors:
        return await _list(visit, form, JoinForm(), 422)
    async with visit.noting("federation.create", name=form.name):
        made = await federations.found(visit.node, FederationBody(form.name, form.open))
    raise web.HTTPSeeOther(f"/federations/{made.id}?said=founded")


async def join(visit: Visit) -> web.Response:
    """Redeem the invite that was pasted: to the federation's page, or to why not."""
    form = JoinForm("".join((await visit.fields()).get("invite", "").split()))
    try:
        async with visit.noting("federation.join") as more:
            joined = await federations.join_by(visit.node, form.invite, more)
    except AtollError as error:
        form.errors["invite"] = sentence(error)
        return await _list(visit, FoundForm(), form, outcome(error.code).status)
    raise web.HTTPSeeOther(f"/federations/{joined.id}?said=joined")


async def show(visit: Visit) -> web.Response:
    node, id_, now = visit.node, federation_of(visit), now_ms()
    relayed = await node.network.relayed()
    found = await asyncio.to_thread(facts, node, id_, relayed, now)
    order = "expiry" if visit.request.query.get("order") == "expiry" else "name"
    members = sorted(found.members, key=lambda each: each.view.expires_at) if order == "expiry" else found.members
    shown, paging = paged(members, visit.request, MEMBERS)
    admin = found.overview.view.admin
    invites = await asyncio.to_thread(federations.invite_states, node, id_) if admin and visit.may("admin") else []
    return await html(
        visit, "federations/federation.html", facts=found, shown=shown, paging=paging, order=order, admin=admin,
        invites=invites, said=visit.said(SAID), now=now, states=WORDS,
        lag_words=lag_words,
    )  # fmt: skip


async def renew(visit: Visit) -> web.Response:
    """A fresh certificate now; what keeps it from that is told as an error."""
    id_ = federation_of(visit)
    await visit.fields()
    async with visit.noting("federation.renew", id=id_.hex()):
        await federations.renew_membership(visit.node, id_)
    raise web.HTTPSeeOther(path_to(id_, "renewed"))


async def ask_leave(visit: Visit) -> web.Response:
    """Say what leaving does, before it is done."""
    node, id_ = visit.node, federation_of(visit)
    federation = node.federations.get(id_)
    listings = node.catalogue.of_owner(id_, node.identity.public)
    admins = node.federations.admins(id_)
    last = node.identity.public in admins and len(admins) == 1 and not federation.charter.open
    return await html(visit, "federations/leave.html", federation=federation, listings=listings, last=last)


async def leave(visit: Visit) -> web.Response:
    id_ = federation_of(visit)
    await visit.fields()
    async with visit.noting("federation.leave", id=id_.hex()):
        await federations.leave_federation(visit.node, id_)
    raise web.HTTPSeeOther("/federations?said=left")


async def _list(visit: Visit, founding: FoundForm, joining: JoinForm, status: int = 200) -> web.Response:
    now, relayed = now_ms(), await visit.node.network.relayed()
    return await html(
        visit, "federations/federations.html", status=status,
        found=await asyncio.to_thread(overviews, visit.node, relayed, now),
        founding=founding, joining=joining, now=now, said=visit.said(LEFT),
    )  # fmt: skip


PAGES = (
    Page("GET", "/federations", index, "read"),
    Page("POST", "/federations", found, "admin"),
    Page("POST", "/federations/join", join, "admin"),
    Page("GET", "/federations/{id}", show, "read"),
    Page("POST", "/federations/{id}/renewal", renew, "admin"),
    Page("GET", "/federations/{id}/leave", ask_leave, "admin"),
    Page("POST", "/federations/{id}/leave", leave, "admin"),
    *inviting.PAGES,
    *governing.PAGES,
)
