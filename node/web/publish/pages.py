"""The pages that begin a draft, take its file, rows and words, and show what was made of them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web
from atoll.engine.errors import AtollError, PrivacyRefusal
from atoll.engine.island_file import LIMIT, read_island
from atoll.engine.islands import Island
from atoll.engine.packages.manifest import SpecEntry
from atoll.engine.semantic import MAX_DESCRIPTION, SCENARIOS, SemanticSpec
from atoll.node.acceptance.submissions import SubmissionRow
from atoll.node.api.routing import reply
from atoll.node.api.uploading import appended
from atoll.node.errors import Forged, RequestInvalid, outcome
from atoll.node.language import gettext, later
from atoll.node.store.dock import Learnware
from atoll.node.web.answers import faulty, html, onward, scripted, sentence
from atoll.node.web.markdown import markdown
from atoll.node.web.page import Page
from atoll.node.web.parts import ANY, TABLES, passing_folder, read_parts
from atoll.node.web.publish import checks, formats, making, steps
from atoll.node.web.publish.drafts import PASSING, Draft, Way
from atoll.node.web.publish.forms import GROUPS, MAX_CLASS_NAME, MAX_CLASSES, ModelForm, WordsForm
from atoll.node.web.publish.picture import drawn
from atoll.node.web.reading.fitting import Unreadable
from atoll.node.web.visit import Visit
from atoll.protocol.errors import NotFound, ProtocolError
from atoll.protocol.ids import parse_digest

WORDS_SIZE, WORDS_FIELDS = 16 * MAX_DESCRIPTION, 60
LONG_UPLOAD = 6 * 3600.0  # seconds that a form with a package or a model may take to come
MAX_KEY, MAX_NAME = 200, 200
LONG = {"classes": 4 * MAX_CLASSES * MAX_CLASS_NAME}  # bytes
WAYS: dict[str, Way] = {"model": "model", "package": "package", "words": "words"}
SAID = {
    "deleted": later("The draft is deleted."),
}


async def start(visit: Visit) -> web.Response:
    """Two ways in, and the drafts that are open; for ``revises``, of which learnware it is to be a revision."""
    revised = _revised(visit, visit.request.query.get("revises", ""))
    drafts = await asyncio.to_thread(visit.node.drafts.all, visit.user)
    listed = [(draft, _step_of(visit, draft)) for draft in drafts]
    return await html(
        visit, "publish/start.html", drafts=listed, revised=revised, said=visit.said(SAID), steps=steps,
        formats=formats.KNOWN,
    )  # fmt: skip


async def begin(visit: Visit) -> web.Response:
    fields = await visit.fields()
    way, revised = WAYS.get(fields.get("way", "")), _revised(visit, fields.get("revises", ""))
    if way is None or (way == "words" and revised is None):
        raise RequestInvalid("not the form of this page")
    draft = await asyncio.to_thread(visit.node.drafts.begin, visit.user, way, revised.id.hex() if revised else "")
    if way == "words":
        await asyncio.to_thread(_taken_from_dock, visit, draft)
    elif revised is not None:
        await asyncio.to_thread(partial(visit.node.drafts.change, draft, words=revised.manifest.semantic))
    raise web.HTTPSeeOther(f"/publish/{draft.id}/{steps.WORDS if way == 'words' else steps.MODEL}")


def _taken_from_dock(visit: Visit, draft: Draft) -> None:
    """Without it there is no draft; blocking."""
    node = visit.node
    try:
        learnware = node.dock.get(parse_digest(draft.revises))
        node.drafts.check_room(draft, node.dock.served_path(learnware).stat().st_size)
        making.taken_from_dock(node, draft)
    except BaseException:
        node.drafts.delete(draft)
        raise


async def show(visit: Visit) -> web.Response:
    """To the step at which a draft stands; a submission, however it came, by its checks."""
    id_ = visit.request.match_info["id"]
    try:
        draft = await _draft(visit)
    except NotFound:
        drafts = await asyncio.to_thread(visit.node.drafts.all, visit.user)
        mine = next((each for each in drafts if each.submission and each.submission == id_), None)
        if mine is None:
            return await checks.submission(visit, id_)
        draft = mine
    raise web.HTTPSeeOther(f"/publish/{draft.id}/{steps.stands(draft, checks.row_of(visit, draft))}")


async def delete(visit: Visit) -> web.Response:
    await visit.fields()
    await asyncio.to_thread(visit.node.drafts.delete, await _draft(visit))
    raise web.HTTPSeeOther("/publish?said=deleted")


async def model(visit: Visit) -> web.Response:
    """The first step."""
    draft = await _draft(visit)
    return await _model_page(visit, draft, ModelForm.of(draft))


async def take_model(visit: Visit) -> web.Response:
    """The file, unless its pieces have come before, and the rows; faults beside their fields, what is right is kept."""
    draft, check = await _draft(visit), None if visit.check_header() else visit.check_form
    drafts, takes = visit.node.drafts, {"given": ANY, "rows": TABLES if draft.way == "model" else ANY}
    async with _coming(visit, draft) as most, passing_folder(PASSING, drafts.path(draft, "")) as folder:
        parts = await read_parts(
            visit.request, folder, check, lambda: None, takes, most={"given": most}, long=LONG, seconds=LONG_UPLOAD
        )
        form = ModelForm.read(parts) if draft.way == "model" else ModelForm(errors=dict(parts.errors))
        draft = await _given(visit, draft, form, parts.files.get("given"), parts.called.get("given", ""))
        if not form.errors and draft.way == "model":
            draft = await _fitted(visit, draft, form, folder)
    if form.errors:
        return faulty(form.errors) if scripted(visit) else await _model_page(visit, draft, form, 422)
    return onward(visit, f"/publish/{draft.id}/{steps.WORDS}")


@asynccontextmanager
async def _coming(visit: Visit, draft: Draft) -> AsyncIterator[int]:
    """Bytes that the file of the form may have, for which there is room, checked before anything of it is written."""
    size = min(_most(visit, draft), visit.request.content_length or sys.maxsize)
    await asyncio.to_thread(visit.node.drafts.reserve, draft, size)
    try:
        yield size
    finally:
        await asyncio.to_thread(visit.node.drafts.release, draft, size)


async def _given(visit: Visit, draft: Draft, form: ModelForm, file: Path | None, name: str) -> Draft:
    """With the file of this form, or the one that is here already."""
    try:
        if file is not None and "given" not in form.errors:
            async with visit.noting("upload.append", draft=draft.id):
                draft = await asyncio.to_thread(visit.node.drafts.take, draft, file, name[:MAX_NAME])
                return await making.received(visit, draft)
    except AtollError as error:
        form.errors["given"] = sentence(error)
        return await _draft(visit)
    if not draft.whole:
        missing = gettext("Give the file of the model.") if draft.way == "model" else gettext("Give the package.")
        form.errors.setdefault("given", missing)
    return draft


async def _fitted(visit: Visit, draft: Draft, form: ModelForm, folder: Path) -> Draft:
    try:
        with visit.node.fitting.room(known=True) as begin_to_read:  # not while they come, which may take hours
            begin_to_read()
            return await making.fitted(visit, draft, form, folder)
    except Unreadable as error:
        field = {"model": "given", "": "rows"}.get(error.field, error.field)
        form.errors[field] = sentence(error)
    except PrivacyRefusal as error:
        form.errors["epsilon"] = sentence(error)
    except AtollError as error:
        form.errors["rows"] = sentence(error)
    return draft


async def standing(visit: Visit) -> web.Response:
    """How much of the file with this ``key`` is here, for a script that goes on."""
    draft = await _draft(visit)
    here = await asyncio.to_thread(visit.node.drafts.received, draft, visit.request.query.get("key", ""))
    return reply({"received": here, "whole": draft.whole and here == draft.size})


async def piece(visit: Visit) -> web.Response:
    """Append the body to the file; with the last piece it is told what was given."""
    if not visit.check_header():
        raise Forged("this is for the script of the page", hint="load the page anew and try again")
    draft, query = await _draft(visit), visit.request.query
    key, name, size = query.get("key", "")[:MAX_KEY], query.get("name", "")[:MAX_NAME], _number(query.get("size", ""))
    if not key or not 0 < size <= _most(visit, draft):
        words = f"the file has {size} bytes, this node takes 1 to {_most(visit, draft)}"
        return faulty({"given": sentence(RequestInvalid(words))})
    if query.get("offset", "0") == "0":
        async with visit.noting("upload.append", draft=draft.id):
            view = await _append(visit, draft, key, name, size)
    else:
        view = await _append(visit, draft, key, name, size)
    if view < size:
        return reply({"received": view, "whole": False})
    try:
        await making.received(visit, await _draft(visit))
    except AtollError as error:
        return faulty({"given": sentence(error)}, outcome(error.code).status)
    return reply({"received": view, "whole": True})


async def _append(visit: Visit, draft: Draft, key: str, name: str, size: int) -> int:
    """Bytes that are here then."""
    await appended(visit.request, partial(visit.node.drafts.append, draft, key, name, size))
    return await asyncio.to_thread(visit.node.drafts.received, await _draft(visit), key)


async def words(visit: Visit) -> web.Response:
    """The second step."""
    draft = await _draft(visit)
    return await _words_page(visit, draft, WordsForm.of(draft.words or _guessed(draft), draft.worded))


async def take_words(visit: Visit) -> web.Response:
    """Keep them, and go on, or show how the description reads. Where others were kept since the form was shown, it is
    shown once more, with what was typed."""
    draft, fields = await _draft(visit), await visit.lists(WORDS_SIZE, WORDS_FIELDS)
    form = WordsForm.read(fields)
    if form.errors or "preview" in fields:
        return await _words_page(visit, draft, form, 422 if form.errors else 200)
    kept = await asyncio.to_thread(visit.node.drafts.reword, draft, form.words(), form.seen)
    if kept is None:
        form.overtaken, form.seen = True, (await _draft(visit)).worded
        return await _words_page(visit, draft, form, 409)
    return onward(visit, f"/publish/{kept.id}/{steps.SPECIFICATION}")


async def preview(visit: Visit) -> web.Response:
    """A description as others will see it."""
    fields = await visit.lists(WORDS_SIZE, WORDS_FIELDS)
    text = next(iter(fields.get("description", ())), "")[:MAX_DESCRIPTION]
    return web.Response(text=await asyncio.to_thread(markdown, text, under=2), content_type="text/html")


async def specification(visit: Visit) -> web.Response:
    """The third step: what the specification is, what it tells, and what it looks like."""
    draft = await checks.draft_of_visit(visit)
    return await _specification_page(visit, draft)


class Shown(NamedTuple):
    """One specification: its entry in the manifest, its island if that is known or ``minted`` for it, its rows."""

    entry: SpecEntry
    island: Island | None
    minted: bool
    rows: int | None


async def take_island(visit: Visit) -> web.Response:
    """The definition of an island that a package is of, and that was minted elsewhere."""
    draft = await checks.draft_of_visit(visit)
    async with passing_folder(PASSING, visit.node.drafts.path(draft, "")) as folder:
        parts = await read_parts(visit.request, folder, visit.check_form, lambda: None, {"definition": ANY},
                                 most={"definition": LIMIT})  # fmt: skip
        try:
            if "definition" not in parts.files:
                raise RequestInvalid("give the file with the island's definition")
            island = await asyncio.to_thread(read_island, parts.files["definition"])
            async with visit.noting("island.add", id=island.id, kind=island.kind):
                await asyncio.to_thread(visit.node.catalogue.add_island, island)
        except AtollError as error:
            words = error.message.replace(f"{folder}/definition", "the file")
            return await _specification_page(visit, draft, {"definition": sentence(RequestInvalid(words))}, 422)
    raise web.HTTPSeeOther(f"/publish/{draft.id}/{steps.SPECIFICATION}")


async def _specification_page(
    visit: Visit, draft: Draft, errors: dict[str, str] | None = None, status: int = 200
) -> web.Response:
    specs = await asyncio.to_thread(_entries, visit, draft)
    picture = drawn(draft.packed.picture) if draft.packed is not None and draft.packed.picture is not None else None
    return await _page(visit, draft, steps.SPECIFICATION, status, specs=specs, picture=picture, errors=errors or {})


def _entries(visit: Visit, draft: Draft) -> list[Shown]:
    """All specifications of a draft; blocking."""
    known = {island.id: island for island in visit.node.catalogue.islands()}
    packed = draft.packed
    if packed is not None:
        assert packed.entry is not None  # a draft holds nothing else
        island = Island.from_definition(packed.island)
        return [Shown(packed.entry, island, packed.minted, packed.rows)]
    return [
        Shown(each, known.get(each.island), False, each.privacy.rows if each.privacy is not None else None)
        for each in making.manifest_of(visit.node, draft).specifications
    ]


async def _draft(visit: Visit) -> Draft:
    """The one in the address; NotFound unless it is this visitor's."""
    return await asyncio.to_thread(visit.node.drafts.get, visit.request.match_info["id"], visit.user)


def _guessed(draft: Draft) -> SemanticSpec:
    """What the model itself says of the words."""
    packed = draft.packed
    if packed is None:
        return SemanticSpec("", scenario=())
    return SemanticSpec("", task=packed.signature.task.title(), library=packed.library, scenario=())


def _revised(visit: Visit, id_: str) -> Learnware | None:
    """The learnware of this dock with that id; None for none."""
    if not id_:
        return None
    try:
        return visit.node.dock.get(parse_digest(id_))
    except ProtocolError as error:
        raise NotFound(error.message) from None


def _step_of(visit: Visit, draft: Draft) -> tuple[str, SubmissionRow | None]:
    row = checks.row_of(visit, draft)
    return steps.stands(draft, row), row


def _most(visit: Visit, draft: Draft) -> int:
    """Bytes that the file of a draft may have: a model no more than are run."""
    config = visit.node.config
    return (
        min(config.sandbox.model_bytes, config.http.max_upload_bytes)
        if draft.way == "model"
        else (config.http.max_upload_bytes)
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


async def _model_page(visit: Visit, draft: Draft, form: ModelForm, status: int = 200) -> web.Response:
    await visit.node.fitting.prepare()
    return await _page(
        visit,
        draft,
        steps.MODEL,
        status,
        form=form,
        most=_most(visit, draft),
        limit=visit.node.config.privacy.epsilon_limit,
        formats=formats.KNOWN,
    )


async def _words_page(visit: Visit, draft: Draft, form: WordsForm, status: int = 200) -> web.Response:
    if not draft.ready:
        raise web.HTTPSeeOther(f"/publish/{draft.id}/{steps.MODEL}")
    shown = await asyncio.to_thread(markdown, form.description, under=2)
    return await _page(
        visit, draft, steps.WORDS, status, form=form, shown=shown, vocabulary=GROUPS,
        scenarios=SCENARIOS,
    )  # fmt: skip


async def _page(visit: Visit, draft: Draft, step: str, status: int = 200, **values: Any) -> web.Response:
    return await checks.page(visit, draft, step, status, **values)


PAGES = (
    Page("GET", "/publish", start, "publish"),
    Page("POST", "/publish", begin, "publish"),
    *checks.DONE,
    Page("GET", "/publish/{id}", show, "publish"),
    Page("POST", "/publish/{id}/delete", delete, "publish"),
    Page("GET", "/publish/{id}/model", model, "publish"),
    Page("POST", "/publish/{id}/model", take_model, "publish"),
    Page("GET", "/publish/{id}/file", standing, "publish"),
    Page("POST", "/publish/{id}/file", piece, "publish"),
    Page("GET", "/publish/{id}/words", words, "publish"),
    Page("POST", "/publish/{id}/words", take_words, "publish"),
    Page("POST", "/publish/{id}/preview", preview, "publish"),
    Page("GET", "/publish/{id}/specification", specification, "publish"),
    Page("POST", "/publish/{id}/specification", take_island, "publish"),
    *checks.PAGES,
)
