"""The later steps: the checks as they go, where it is listed and by which policy, and that it is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web
from atoll.engine.errors import AtollError, PrivacyRefusal
from atoll.engine.packages.acceptance import NAMES, Step
from atoll.node.acceptance.submissions import LabelledRows, SubmissionRow
from atoll.node.api.learnwares import list_in
from atoll.node.errors import outcome
from atoll.node.language import gettext
from atoll.node.store.federations import Federation
from atoll.node.web.answers import faulty, html, onward, scripted, sentence
from atoll.node.web.dock import words as dock_words
from atoll.node.web.dock.preview import NOTHING, Preview, draft_of, preview, widened
from atoll.node.web.following import Part, Told, followed
from atoll.node.web.learnwares.snippets import for_members
from atoll.node.web.page import Page
from atoll.node.web.parts import TABLES, passing_folder, read_parts
from atoll.node.web.publish import making, steps
from atoll.node.web.publish.drafts import PASSING, Draft
from atoll.node.web.publish.forms import MAX_COLUMN, ListingForm
from atoll.node.web.reading.fitting import Unreadable
from atoll.node.web.rendering import render
from atoll.node.web.visit import Visit
from atoll.protocol.errors import NotFound, ProtocolError
from atoll.protocol.ids import parse_digest
from atoll.protocol.listings import Listing
from atoll.protocol.policy import Policy

if TYPE_CHECKING:
    from atoll.node.app import Node


class CheckForm(msgspec.Struct):
    """A labelled sample, if one is given, and what is wrong with it."""

    target: str = ""
    errors: dict[str, str] = {}


async def show(visit: Visit) -> web.Response:
    """How far the checks are; before them, and when they have refused it, the form that begins them."""
    draft = await draft_of_visit(visit)
    return await _checks_page(visit, draft, CheckForm())


async def begin(visit: Visit) -> web.Response:
    """Have it checked, with the sample that was given."""
    draft, check = await draft_of_visit(visit), None if visit.check_header() else visit.check_form
    row = row_of(visit, draft)
    with visit.node.drafts.alone(draft) as first, visit.node.fitting.room(known=True) as begun:
        if not first or (row is not None and row.state != "refused"):
            raise web.HTTPSeeOther(f"/publish/{draft.id}/{steps.CHECKS}")
        async with passing_folder(PASSING, visit.node.drafts.path(draft, "")) as folder:
            parts = await read_parts(visit.request, folder, check, begun, {"labelled": TABLES})
            form = CheckForm(parts.first("target").strip()[:MAX_COLUMN], dict(parts.errors))
            try:
                sample: LabelledRows | None = None
                if not form.errors and (file := parts.files.get("labelled")) is not None:
                    sample = await making.sample(visit, file, form.target, folder)
                if not form.errors:
                    draft = await making.submitted(visit, draft, sample)
            except AtollError as error:
                form.errors["labelled" if isinstance(error, Unreadable) else "form"] = sentence(error)
    if form.errors:
        return faulty(form.errors) if scripted(visit) else await _checks_page(visit, draft, form, 422)
    return onward(visit, f"/publish/{draft.id}/{steps.CHECKS}")


async def events(visit: Visit) -> web.StreamResponse:
    """Each check with its outcome, as it comes: server-sent events with parts of the page in them. Each tells all there
    is by then, so who comes again needs no number to go on from."""
    draft = await draft_of_visit(visit)
    row = row_of(visit, draft)
    if row is None:
        raise NotFound("nothing of this draft is checked yet", hint="begin its checks")
    node, id_ = visit.node, row.id

    async def told() -> AsyncIterator[Told]:
        async for stands, checks in node.acceptance.following(id_):
            yield Told(await asyncio.to_thread(_part, node, draft, stands, checks), not stands.open)

    return await followed(visit, told())


async def submission(visit: Visit, id_: str) -> web.Response:
    """The checks of a package that has come by another way, or whose draft is gone."""
    try:
        row = visit.node.acceptance.get(bytes.fromhex(id_))
    except ValueError:
        raise NotFound("no such draft, and no such submission") from None
    told = visit.node.acceptance.steps(row.id)
    return await html(visit, "publish/submission.html", row=row, told=told, expected=NAMES, steps=steps, draft=None,
                      mended="")  # fmt: skip


async def federation(visit: Visit) -> web.Response:
    """Where to list it, and by which policy; with what that lets members do."""
    draft, row = await _accepted(visit)
    return await _federation_page(visit, draft, row, ListingForm.read(visit.request.query))


async def publish(visit: Visit) -> web.Response:
    """List it, which ends the draft. What would be handed over for good is asked once more."""
    fields = await visit.fields()
    draft, row = await _accepted(visit)
    form, node = ListingForm.read(fields), visit.node
    if "preview" in fields:
        return await _federation_page(visit, draft, row, form)
    try:
        id_, policy = form.id(), _policy(form)
        if widened(policy, _before(node, row, id_)) and not form.sure:
            form.errors["sure"] = gettext("Tick this if that is what you want.")
            return await _federation_page(visit, draft, row, form, 422)
        async with visit.noting("learnware.publish", id=row.learnware_id.hex(), federation=id_.hex()) as more:
            await list_in(node, row.learnware_id, id_, policy, more, few_rows=form.few_rows)
    except AtollError as error:
        field = "few_rows" if isinstance(error, PrivacyRefusal) else "federation"
        form.errors[field] = sentence(error)
        return await _federation_page(visit, draft, row, form, outcome(error.code).status)
    raise web.HTTPSeeOther(f"/publish/done/{row.learnware_id.hex()}")


async def done(visit: Visit) -> web.Response:
    """It is listed: its page, and how to share it."""
    try:
        learnware = visit.node.dock.get(parse_digest(visit.request.match_info["id"]))
    except ProtocolError as error:
        raise NotFound(error.message) from None
    listed = visit.node.publisher.listed_in(learnware.id)
    snippet = for_members(learnware.id.hex(), listed)
    return await html(visit, "publish/done.html", learnware=learnware, listed=listed, snippet=snippet)


async def leave(visit: Visit) -> web.Response:
    """It stays in the dock, listed nowhere; the draft is done with."""
    await visit.fields()
    draft, row = await _accepted(visit)
    await asyncio.to_thread(visit.node.drafts.delete, draft)
    raise web.HTTPSeeOther(f"/publish/done/{row.learnware_id.hex()}")


async def page(visit: Visit, draft: Draft, step: str, status: int = 200, **values: Any) -> web.Response:
    """A step of a draft; if its checks have refused it, why, at the step where that is mended."""
    row = row_of(visit, draft)
    fault = steps.failed(row.report) if row is not None and row.state == "refused" else None
    mends = fault if fault is not None and steps.mended(fault, draft) == step else None
    return await html(
        visit, f"publish/{step}.html", status=status, draft=draft, row=row, places=steps.places(draft, row, step),
        steps=steps, mends=mends, **values,
    )  # fmt: skip


def row_of(visit: Visit, draft: Draft) -> SubmissionRow | None:
    """The submission of a draft; None if there is none (any more)."""
    if not draft.submission:
        return None
    try:
        return visit.node.acceptance.get(bytes.fromhex(draft.submission))
    except NotFound:
        return None


async def draft_of_visit(visit: Visit) -> Draft:
    """The draft in the address, if it is so far; else on the way to where it stands."""
    draft = await asyncio.to_thread(visit.node.drafts.get, visit.request.match_info["id"], visit.user)
    if not draft.ready:
        raise web.HTTPSeeOther(f"/publish/{draft.id}/{steps.MODEL}")
    if draft.words is None:
        raise web.HTTPSeeOther(f"/publish/{draft.id}/{steps.WORDS}")
    return draft


async def _accepted(visit: Visit) -> tuple[Draft, SubmissionRow]:
    draft = await draft_of_visit(visit)
    row = row_of(visit, draft)
    if row is None or row.state != "accepted":
        raise web.HTTPSeeOther(f"/publish/{draft.id}/{steps.CHECKS}")
    return draft, row


def _part(node: Node, draft: Draft, row: SubmissionRow, told: tuple[Step, ...]) -> Part:
    fault = steps.failed(row.report)
    mended = steps.mended(fault, draft) if fault is not None else ""
    text = render("publish/_checks.html", node, row=row, told=told, expected=NAMES, steps=steps, draft=draft,
                  mended=mended)  # fmt: skip
    return Part(gettext(steps.STATES[row.state]), "checks", html=text)


async def _checks_page(visit: Visit, draft: Draft, form: CheckForm, status: int = 200) -> web.Response:
    row = row_of(visit, draft)
    fault = steps.failed(row.report) if row is not None else None
    told = visit.node.acceptance.steps(row.id) if row is not None else ()
    return await page(
        visit, draft, steps.CHECKS, status, form=form, told=told, expected=NAMES,
        mended=steps.mended(fault, draft) if fault is not None else "",
    )  # fmt: skip


async def _federation_page(
    visit: Visit, draft: Draft, row: SubmissionRow, form: ListingForm, status: int = 200
) -> web.Response:
    federations = visit.node.federations.all()
    if not form.federation and federations:
        form.federation = (await asyncio.to_thread(_first, visit.node, federations)).id.hex()
    shown = await asyncio.to_thread(_previewed, visit, row, form) if federations else None
    listed = visit.node.publisher.listed_in(row.learnware_id)
    return await page(
        visit, draft, steps.FEDERATION, status, form=form, federations=federations, presets=dock_words.PRESETS,
        preview=shown, says=dock_words, learnware=row.learnware_id.hex(), listed=listed,
    )  # fmt: skip


def _previewed(visit: Visit, row: SubmissionRow, form: ListingForm) -> Preview | None:
    """What members could do; None where there is nothing to show. Blocking."""
    try:
        federation, policy = form.id(), _policy(form)
        visit.node.federations.get(federation)
        listing = _listing(visit.node, row, federation)
        return preview(visit.node, listing, draft_of(visit.node, listing, row.learnware_id, federation, policy), policy)
    except AtollError as error:
        form.errors.setdefault("federation", sentence(error))
        return None


def _policy(form: ListingForm) -> Policy:
    if form.policy not in dock_words.PRESETS:
        raise NotFound("no such ready policy")
    return dock_words.PRESETS[form.policy][1]


def _before(node: Node, row: SubmissionRow, federation: bytes) -> Policy:
    listing = _listing(node, row, federation)
    return node.gate.policy(listing) if listing is not None else NOTHING


def _listing(node: Node, row: SubmissionRow, federation: bytes) -> Listing | None:
    return next((each for each in node.publisher.listed_in(row.learnware_id) if each.federation == federation), None)


def _first(node: Node, federations: list[Federation]) -> Federation:
    """A private one before an open one, and any before that of the first visit's example; blocking."""
    return min(federations, key=lambda each: (node.example.founded(each), each.charter.open, each.charter.name))


DONE = (Page("GET", "/publish/done/{id}", done, "publish"),)
PAGES = (
    Page("GET", "/publish/{id}/checks", show, "publish"),
    Page("POST", "/publish/{id}/checks", begin, "publish"),
    Page("GET", "/publish/{id}/events", events, "publish"),
    Page("GET", "/publish/{id}/federation", federation, "publish"),
    Page("POST", "/publish/{id}/federation", publish, "publish"),
    Page("POST", "/publish/{id}/leave", leave, "publish"),
)
