"""Inviting: a line of text, and the same as a QR code, shown once."""

from __future__ import annotations

import asyncio
from functools import partial

from aiohttp import web
from atoll.node.api import federations
from atoll.node.checkup.connections import ANNOUNCE, leads_nowhere
from atoll.node.language import gettext
from atoll.node.web.answers import html
from atoll.node.web.federations.asked import federation_of, path_to
from atoll.node.web.federations.forms import InviteForm
from atoll.node.web.federations.qr import qr
from atoll.node.web.page import Page
from atoll.node.web.visit import Visit


async def ask(visit: Visit) -> web.Response:
    return await _form(visit, InviteForm())


async def invite(visit: Visit) -> web.Response:
    """The invite itself, which is kept nowhere: the page that answers the form is the only one that shows it."""
    id_ = federation_of(visit)
    form = InviteForm.read(await visit.fields())
    if form.errors:
        return await _form(visit, form, 422)
    token = visit.token
    assert token is not None  # the page wants the scope admin
    async with visit.noting("federation.invite", id=id_.hex(), role=form.role) as more:
        made = await federations.make_invite(visit.node, id_, form.body, token, more)
    nowhere = leads_nowhere(visit.node.network.addresses)
    draw = partial(qr, made.invite, gettext("The invite as a QR code"))
    return await html(
        visit, "federations/invite.html", federation=visit.node.federations.get(id_), made=made,
        qr=await asyncio.to_thread(draw), nowhere=nowhere[:1].upper() + nowhere[1:], todo=ANNOUNCE,
    )  # fmt: skip


async def take_back(visit: Visit) -> web.Response:
    id_, invite_ = federation_of(visit), visit.request.match_info["invite"]
    await visit.fields()
    async with visit.noting("federation.uninvite", id=id_.hex(), invite=invite_) as more:
        await federations.take_back(visit.node, id_, invite_, more)
    raise web.HTTPSeeOther(path_to(id_, "taken-back"))


async def _form(visit: Visit, form: InviteForm, status: int = 200) -> web.Response:
    federation = visit.node.federations.get(federation_of(visit))
    return await html(visit, "federations/inviting.html", status=status, federation=federation, form=form)


PAGES = (
    Page("GET", "/federations/{id}/invites", ask, "admin"),
    Page("POST", "/federations/{id}/invites", invite, "admin"),
    Page("POST", "/federations/{id}/invites/{invite}/take-back", take_back, "admin"),
)
