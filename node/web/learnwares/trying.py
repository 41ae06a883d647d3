"""Trying a learnware on a few rows, typed in or in a file: predicted here or at its owner, and none of it is kept."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from atoll.engine.errors import AtollError, FeatureMismatch, SpecificationError, TableError
from atoll.engine.islands import Island
from atoll.engine.tables import Table
from atoll.node.api.predictions import island_of, islands_of
from atoll.node.errors import ConsentNeeded
from atoll.node.language import gettext
from atoll.node.reuse.result import PredictionResult
from atoll.node.web.answers import sentence
from atoll.node.web.learnwares.finding import Shown
from atoll.node.web.parts import TABLES, Parts, passing_folder, read_parts
from atoll.node.web.reading.fitting import Reading
from atoll.protocol.errors import NotFound
from atoll.protocol.listings import Listing
from atoll.protocol.policy import Act

if TYPE_CHECKING:
    from atoll.node.web.visit import Visit

MOST_ROWS = 200
MOST_CELLS = 1 << 22  # values in them
MOST_TYPED = 30  # features
LIKELIEST = 5  # classes of a row that are shown
FILES = {"file": TABLES}
Prefer = Literal["local", "remote"]


@dataclass
class Trying:
    """What was filled in: ``typed`` values by feature, in the order of the island's; ``errors`` by field."""

    typed: tuple[str, ...] = ()
    prefer: Prefer = "local"
    send: bool = False
    errors: dict[str, str] = field(default_factory=dict)


class Ground(NamedTuple):
    """Where rows are predicted: here, unless the owner alone does it, or may do it too. ``island`` is that whose
    features are typed, if they are few."""

    island: Island | None
    here: bool
    there: bool
    own: bool


class Answer(NamedTuple):
    """Of one row: the likeliest classes with their probabilities, or the values."""

    label: str
    classes: tuple[tuple[str, float], ...]
    values: tuple[float, ...]


class Tried(NamedTuple):
    """What came of it, and whether the rows have left the node."""

    answers: tuple[Answer, ...]
    left: bool


def ground(visit: Visit, shown: Shown, allowed: set[Act]) -> Ground | None:
    """None where the visitor may not predict with it at all."""
    listing, own = shown.live, shown.own is not None
    if listing is None or not (own or allowed & {"predict", "download"}):
        return None
    islands = [each for each in islands_of(visit.node, listing) if each.names]
    island = next((each for each in islands if each.dimension <= MOST_TYPED), None)
    return Ground(island, own or "download" in allowed, not own and "predict" in allowed, own)


async def tried(visit: Visit, shown: Shown, listing: Listing, on: Ground) -> tuple[Trying, Tried | None]:
    """Read the form and predict; what is wrong is told by field, and then nothing is predicted."""
    check = None if visit.check_header() else visit.check_form
    with visit.node.fitting.room(known=True) as begin:
        async with passing_folder() as folder:
            parts = await read_parts(visit.request, folder, check, begin, FILES)
            trying = _read(parts, on)
            rows = await _rows(visit, parts, folder, trying, on) if not trying.errors else None
    if rows is None:
        return trying, None
    try:
        return trying, await _predicted(visit, shown, listing, rows, trying)
    except ConsentNeeded:
        trying.errors["send"] = gettext("Tick this if the rows may leave this node.")
    except AtollError as error:
        trying.errors[_field(error)] = sentence(error)
    return trying, None


def _read(parts: Parts, on: Ground) -> Trying:
    prefer: Prefer = "remote" if parts.first("prefer") == "remote" or not on.here else "local"
    trying = Trying(prefer=prefer, send=prefer == "remote" and bool(parts.first("send")), errors=dict(parts.errors))
    if on.island is not None:
        trying.typed = tuple(parts.first(f"v{place}").strip()[:40] for place in range(on.island.dimension))
    if "file" not in parts.files and not any(trying.typed) and not trying.errors:
        trying.errors["file"] = gettext("Give a file, or type the values of a row.")
    return trying


async def _rows(visit: Visit, parts: Parts, folder: Path, trying: Trying, on: Ground) -> Table | None:
    if "file" in parts.files:
        return await _of_file(visit, parts.files["file"], folder, trying)
    assert on.island is not None  # else nothing can be typed
    values = []
    for place, text in enumerate(trying.typed):
        try:
            values.append(float(text))
        except ValueError:
            values.append(float("nan"))
        if not np.isfinite(values[-1]):
            trying.errors[f"v{place}"] = gettext("A number.")
    return None if trying.errors else Table(np.array([values], np.float64), on.island.names)


async def _of_file(visit: Visit, file: Path, folder: Path, trying: Trying) -> Table | None:
    into = (str(folder / "rows.array"), str(folder / "none.array"))
    try:
        (sheet,) = await visit.node.fitting.sheets(file, Reading(into, rows=MOST_ROWS + 1, cells=MOST_CELLS))
        values = await asyncio.to_thread(np.load, into[0], allow_pickle=False)
    except AtollError as error:
        trying.errors["file"] = sentence(error)
        return None
    if len(values) > MOST_ROWS:
        most = gettext("At most {most} rows; for more, search by them and predict with what is found.")
        trying.errors["file"] = most.format(most=MOST_ROWS)
        return None
    return Table(values, sheet.columns)


async def _predicted(visit: Visit, shown: Shown, listing: Listing, rows: Table, trying: Trying) -> Tried:
    rows = _selected(islands_of(visit.node, listing), rows)
    island = island_of(visit.node, listing, rows)
    async with _noted(visit, shown, trying.send):
        result = await visit.node.reuser.predict_with(listing, island, rows, trying.prefer, visit.user, trying.send)
    return Tried(_answers(result), result.rows_remote > 0)


def _selected(islands: list[Island], rows: Table) -> Table:
    """Without columns that are no features, where those are all there."""
    for island in islands:
        if island.names and set(island.names) < set(rows.columns):
            return Table(rows.select(island.names), island.names)
    return rows


def _noted(visit: Visit, shown: Shown, send: bool) -> AbstractAsyncContextManager[object]:
    """That rows may leave this node is an act; a prediction that changes nothing is none."""
    return visit.noting("reuse.predict", id=shown.hex, send="yes") if send else nullcontext()


def _answers(result: PredictionResult) -> tuple[Answer, ...]:
    if not result.class_names:
        return tuple(Answer("", (), values) for values in result.values)
    found = []
    for label, values in zip(result.labels, result.values, strict=True):
        order = sorted(range(len(values)), key=lambda place: -values[place])[:LIKELIEST]
        found.append(Answer(label, tuple((result.class_names[place], values[place]) for place in order), ()))
    return tuple(found)


def _field(error: AtollError) -> str:
    return "file" if isinstance(error, FeatureMismatch | SpecificationError | TableError) else "form"


def need_ground(on: Ground | None) -> Ground:
    if on is None:
        raise NotFound("you may not predict with it, or it is not listed now", hint="ask its owner on its page")
    return on
