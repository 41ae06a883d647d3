"""Tokens: who may do what here, who is signed in with which, a new one, and the end of one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from aiohttp import web
from atoll.node.api.tokens import MAX_DAYS, MAX_NAME, TokenBody, TokenView, made, revoked
from atoll.node.clock import now_ms
from atoll.node.language import gettext, later
from atoll.node.store.tokens import SCOPES, Scope, TokenRow
from atoll.node.web.answers import html
from atoll.node.web.page import Page
from atoll.node.web.visit import Visit
from atoll.protocol.errors import NotFound

DAYS = 90
SAID = {"revoked": later("The token is revoked. Whoever was signed in with it is signed out.")}
ALLOWS: dict[Scope, str] = {
    "read": later("Search, look at the catalogue, the network and this dock."),
    "predict": later("Have rows predicted, and download what owners offer."),
    "publish": later("Publish learnwares, set their policies, answer requests."),
    "admin": later("Everything, also these pages: federations, peers, tokens, backups."),
}


@dataclass
class Form:
    """A token to be made; ``days`` is empty for one that never expires."""

    name: str = ""
    scopes: tuple[Scope, ...] = ("read", "predict")
    days: str = str(DAYS)
    errors: dict[str, str] = field(default_factory=dict)

    def body(self) -> TokenBody:
        """What is to be made; faults are in ``errors``."""
        if not 1 <= len(self.name) <= MAX_NAME:
            self.errors["name"] = gettext("Give it a name of 1 to %(most)s characters.") % {"most": MAX_NAME}
        if not self.scopes:
            self.errors["scopes"] = gettext("Choose at least one thing that it may do.")
        fits = self.days.isascii() and self.days.isdigit() and len(self.days) < 9 and 1 <= int(self.days) <= MAX_DAYS
        if self.days and not fits:
            self.errors["days"] = gettext("A number of days from 1 to %(most)s, or nothing.") % {"most": MAX_DAYS}
        return TokenBody(self.name, self.scopes, int(self.days) if self.days and fits else None)


async def index(visit: Visit) -> web.Response:
    return await _page(visit, Form())


async def create(visit: Visit) -> web.Response:
    """The secret is in the answer to the form, and nowhere else: no address leads to it, and nothing keeps it."""
    fields = await visit.fields()
    scopes = tuple(scope for scope in SCOPES if f"scope-{scope}" in fields)
    form = Form(fields.get("name", "").strip(), scopes, fields.get("days", "").strip())
    body = form.body()
    if form.errors:
        return await _page(visit, form, status=422)
    async with visit.noting("token.create", name=body.name, scopes=", ".join(scopes)):
        view = await made(visit.node, body)
    return await _page(visit, Form(), view)


async def ask(visit: Visit) -> web.Response:
    """Before one is revoked: who loses what."""
    rows = await asyncio.to_thread(visit.node.tokens.all)
    row = next((each for each in rows if each.id == visit.request.match_info["id"]), None)
    if row is None:
        raise NotFound(gettext("no such token"))
    now = now_ms()
    sessions = visit.node.sessions.of_tokens(now)[row.id]
    own = visit.token is not None and visit.token.id == row.id
    last = _admins(rows, now) == [row.id]
    return await html(
        visit, "admin/revoke.html", tab="/admin/tokens", row=row, sessions=sessions, own=own, last=last, allows=ALLOWS
    )


async def revoke(visit: Visit) -> web.Response:
    await visit.fields()
    id_ = visit.request.match_info["id"]
    async with visit.noting("token.revoke", id=id_):
        await revoked(visit.node, id_)
    raise web.HTTPSeeOther("/admin/tokens?said=revoked")


async def _page(visit: Visit, form: Form, view: TokenView | None = None, *, status: int = 200) -> web.Response:
    rows, now = await asyncio.to_thread(visit.node.tokens.all), now_ms()
    rows.sort(key=lambda row: (not row.in_force(now), -row.created_at))
    return await html(
        visit, "admin/tokens.html", status=status, tab="/admin/tokens", rows=rows, now=now, form=form, made=view,
        allows=ALLOWS, sessions=visit.node.sessions.of_tokens(now), limits_of=(MAX_NAME, MAX_DAYS),
        said=visit.said(SAID),
    )  # fmt: skip


def _admins(rows: list[TokenRow], now: int) -> list[str]:
    """The tokens in force that may do everything."""
    return [row.id for row in rows if "admin" in row.scopes and row.in_force(now)]


PAGES = (
    Page("GET", "/admin/tokens", index, "admin"),
    Page("POST", "/admin/tokens", create, "admin"),
    Page("GET", "/admin/tokens/{id}/revoke", ask, "admin"),
    Page("POST", "/admin/tokens/{id}/revoke", revoke, "admin"),
)
