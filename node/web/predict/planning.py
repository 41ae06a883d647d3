"""From a search to a plan: the form that asks for the rows, and what it makes of them. Nothing is sent to anybody."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from aiohttp import web
from atoll.engine.errors import AtollError, FeatureMismatch, SpecificationError, TableError
from atoll.engine.tables import Table
from atoll.node.errors import NothingFound
from atoll.node.reuse.rows import Labelled, Rows
from atoll.node.search.query import MixtureView
from atoll.node.search.running import Running, Session
from atoll.node.web.answers import faulty, html, onward, scripted, sentence
from atoll.node.web.page import Page
from atoll.node.web.parts import passing_folder, read_parts
from atoll.node.web.predict.asking import FILES, Asking
from atoll.node.web.reading.fitting import Reading, Sheet, Unreadable
from atoll.node.web.visit import Visit
from atoll.protocol.errors import NotFound

if TYPE_CHECKING:
    from atoll.node.reuse.running import Reusing


async def ask(visit: Visit) -> web.Response:
    """The form; for whoever may not predict, how they may."""
    try:
        visit.check_may("predict")
    except AtollError as error:
        return await html(visit, "predict/may_not_predict.html", error.code, search=visit.request.match_info["id"])
    running, session = await _searched(visit)
    return await _form(visit, running, session, Asking())


async def plan(visit: Visit) -> web.StreamResponse:
    """To the plan; faults beside their fields."""
    visit.check_may("predict")
    check = None if visit.check_header() else visit.check_form
    running, session = await _searched(visit)
    with visit.node.fitting.room(known=True) as begin:
        async with passing_folder() as folder:
            asking = Asking.read(await read_parts(visit.request, folder, check, begin, FILES))
            reusing = None if asking.errors else await planned(visit, running, asking, folder)
    if reusing is None and scripted(visit):
        return faulty(asking.errors)
    if reusing is None:
        return await _form(visit, running, session, asking)
    return onward(visit, f"/reuses/{reusing.id}")


async def _searched(visit: Visit) -> tuple[Running, Session]:
    """The search, once it has an answer, and what it has found to predict with; NotFound if that is nothing."""
    running = visit.node.searcher.running(visit.request.match_info["id"], visit.user)
    await running.answer()
    if running.session is None:
        raise NotFound("this search has found nothing to predict with", hint="search by rows of your data")
    return running, running.session


async def planned(visit: Visit, running: Running, asking: Asking, folder: Path) -> Reusing | None:
    """The plan for the rows; None if there is none, whose faults are told by field."""
    node = visit.node
    into = (str(folder / "rows.array"), str(folder / "labelled.array"))
    reading = Reading(into, str(asking.files.get("labelled", "")), asking.target)
    try:
        sheets = await node.fitting.sheets(asking.files["file"], reading, impute=asking.impute)
        rows = await asyncio.to_thread(Rows.open, Path(into[0]), sheets[0].columns, node.config.reuse.max_rows)
        labelled = await asyncio.to_thread(_labelled, Path(into[1]), sheets[1]) if sheets[1:] else None
        async with visit.noting("reuse.plan", search_id=running.id):
            return await node.reuser.plan(asking.query(running.id, visit.user), rows, labelled)
    except AtollError as error:
        asking.errors[_field(error)] = sentence(error)
        return None


def _labelled(path: Path, sheet: Sheet) -> Labelled:
    return Labelled(Table(np.load(path, allow_pickle=False), sheet.columns), sheet.target)


def _field(error: AtollError) -> str:
    """Of the form, to which an error belongs."""
    match error:
        case Unreadable():
            return error.field
        case NothingFound():
            return "force"
        case FeatureMismatch() | SpecificationError() | TableError():
            return "file"
    return "form"


async def _form(visit: Visit, running: Running, session: Session, asking: Asking) -> web.Response:
    await visit.node.fitting.prepare()
    mixture: MixtureView = session.mixture
    return await html(
        visit, "predict/predict.html", status=422 if asking.errors else 200, asking=asking, running=running,
        mixture=mixture,
    )  # fmt: skip


PAGES = (Page("GET", "/searches/{id}/predict", ask), Page("POST", "/searches/{id}/predict", plan))
