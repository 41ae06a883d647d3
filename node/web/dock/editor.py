"""The policy editor: for each act for whom and how much, and before it is saved what members could do by it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web
from atoll.engine.errors import AtollError, PrivacyRefusal
from atoll.node.api.learnwares import list_in
from atoll.node.errors import outcome
from atoll.node.store.dock import Learnware
from atoll.node.web.answers import faults, html, scripted, sentence
from atoll.node.web.dock import words
from atoll.node.web.dock.acts import listed, named_in, own
from atoll.node.web.dock.policy_form import FIELDS, SIZE, PolicyForm
from atoll.node.web.dock.preview import NOTHING, Preview, draft_of, members_of, preview, widened
from atoll.node.web.page import Page
from atoll.node.web.rendering import render
from atoll.node.web.visit import Visit
from atoll.protocol.listings import Listing
from atoll.protocol.policy import Policy

OFFERED = 200  # members that the field for names proposes


@dataclass(frozen=True)
class Editing:
    """Whose policy, and where; ``few`` says why a specification of few rows needs the owner's word there."""

    learnware: Learnware
    federation: bytes
    listing: Listing | None
    before: Policy
    members: list[tuple[str, str]]
    few: str

    @property
    def path(self) -> str:
        return f"/dock/{self.learnware.id.hex()}/policies/{self.federation.hex()}"


async def show(visit: Visit) -> web.Response:
    """The policy in force; for what is not listed there yet, the least that makes sense."""
    editing = _editing(visit)
    form = PolicyForm.of(editing.before if editing.listing is not None else Policy())
    return await _page(visit, editing, form)


async def again(visit: Visit) -> web.Response:
    """A preview that was loaded anew begins with what is in force."""
    raise web.HTTPSeeOther(_editing(visit).path)


async def try_out(visit: Visit) -> web.Response:
    """The preview of what was sent, in the page, or for its script the part alone; changes nothing."""
    editing = _editing(visit)
    form = await _form(visit, editing)
    if not scripted(visit):
        return await _page(visit, editing, form)
    shown = await asyncio.to_thread(_previewed, visit, editing, form)
    part = await asyncio.to_thread(render, "dock/_preview.html", visit.node, preview=shown, says=words)
    return web.json_response({"html": part, **faults(form.errors)})


async def save(visit: Visit) -> web.Response:
    """List it with this policy. What would be handed over for good is asked once more."""
    editing = _editing(visit)
    form = await _form(visit, editing)
    if form.errors:
        return await _page(visit, editing, form, status=422)
    policy = form.policy()
    if not form.sure.issuperset(widened(policy, editing.before)):
        return await _page(visit, editing, form, asks=True)
    try:
        async with visit.noting(
            "learnware.publish", id=editing.learnware.id.hex(), federation=editing.federation.hex()
        ) as more:
            await list_in(visit.node, editing.learnware.id, editing.federation, policy, more, few_rows=form.few_rows)
    except AtollError as error:
        form.errors["few_rows" if isinstance(error, PrivacyRefusal) and editing.few else "form"] = sentence(error)
        return await _page(visit, editing, form, status=outcome(error.code).status)
    raise web.HTTPSeeOther(f"/dock/{editing.learnware.id.hex()}?said=listed")


def _editing(visit: Visit) -> Editing:
    """NotFound for what is not of this dock, or a federation that this node is not in."""
    node, learnware_id, federation = visit.node, own(visit), named_in(visit, "federation")
    listing = listed(visit, learnware_id, federation)
    before = node.gate.policy(listing) if listing is not None else NOTHING
    learnware = node.dock.get(learnware_id)
    return Editing(
        learnware, federation, listing, before, members_of(node, federation), _few(visit, learnware, federation)
    )


def _few(visit: Visit, learnware: Learnware, federation: bytes) -> str:
    """Empty where nothing speaks against publishing it there, or the owner's word would not help."""
    publisher = visit.node.publisher
    try:
        publisher.check_privacy(learnware, federation)
    except PrivacyRefusal as refusal:
        try:
            publisher.check_privacy(learnware, federation, few_rows=True)
        except PrivacyRefusal:
            return ""
        return refusal.message
    return ""


async def _form(visit: Visit, editing: Editing) -> PolicyForm:
    form = PolicyForm.read(await visit.lists(SIZE, FIELDS), editing.before, editing.members)
    form.check(editing.learnware.manifest)
    return form


def _previewed(visit: Visit, editing: Editing, form: PolicyForm) -> Preview:
    policy = form.policy()
    draft = draft_of(visit.node, editing.listing, editing.learnware.id, editing.federation, policy)
    return preview(visit.node, editing.listing, draft, policy)


async def _page(
    visit: Visit, editing: Editing, form: PolicyForm, *, asks: bool = False, status: int = 200
) -> web.Response:
    shown = await asyncio.to_thread(_previewed, visit, editing, form)
    return await html(
        visit, "dock/policy.html", status=status, editing=editing, form=form, preview=shown, asks=asks, says=words,
        offered=editing.members[:OFFERED], known=dict(editing.members),
    )  # fmt: skip


PAGES = (
    Page("GET", "/dock/{id}/policies/{federation}", show, "publish"),
    Page("POST", "/dock/{id}/policies/{federation}", save, "publish"),
    Page("GET", "/dock/{id}/policies/{federation}/preview", again, "publish"),
    Page("POST", "/dock/{id}/policies/{federation}/preview", try_out, "publish"),
)
