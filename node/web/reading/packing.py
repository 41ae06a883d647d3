"""A model and the rows it is good on, made into the parts of a package: what the process that reads files does with
them. Nothing of the model is run but by the library of its format, and no pickle is loaded."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from atoll.engine.errors import AtollError, ModelRefused, NotFinite, PrivacyRefusal, TableError
from atoll.engine.filling import filled
from atoll.engine.islands import Island, adopted, positional_names
from atoll.engine.packages.convert import Converted, from_estimator
from atoll.engine.packages.originals import aligned
from atoll.engine.packages.own import load_data
from atoll.engine.packages.pack import specified
from atoll.engine.runtime.formats import CODE, detect
from atoll.engine.specs.picture import plane
from atoll.engine.specs.rkme import Rkme
from atoll.engine.tables import Table
from atoll.engine.targets import chunks_without
from atoll.node.web.reading.fitting import Answer, Cell, Order, Packed, Packing, Picture
from numpy.typing import NDArray

COLUMNS, LINES = 28, 20  # of the grid that rows are counted in
LEAST = 5  # rows in a cell that is shown
OUTLYING = 1.0  # per cent of the rows on each side that the picture does not reach to


class Refused(Exception):
    """What is wrong with a field of the form."""

    def __init__(self, field: str, words: str) -> None:
        super().__init__(words)
        self.field = field


def pack(order: Order, into: BinaryIO) -> Answer:
    """The parts, the model's bytes in ``into``; or which field is wrong, and how."""
    asked = order.packing
    assert asked is not None  # this is what was asked for
    field = "rows"
    try:
        rows = _read(Path(order.file), asked.target)
        field = "model"
        rows, converted = _converted(asked, rows)
        into.write(converted.data)
        into.flush()
        field = "rows"
        return Answer(packed=_packed(order, rows, converted))
    except Refused as fault:
        return Answer(refused=str(fault), field=fault.field)
    except PrivacyRefusal as error:
        return Answer(refused=error.message, field="epsilon" if asked.private else "rows")
    except AtollError as error:
        hint = "" if isinstance(error, ModelRefused | NotFinite) or not error.hint else f"; {error.hint}"
        return Answer(refused=_without(f"{error.message}{hint}", order.file, asked.model), field=field)
    except MemoryError:
        return Answer(refused="this takes more memory than the page gives it; use `atoll learnware pack`", field=field)


def _read(path: Path, target: str) -> Table:
    rows = Table.together(chunks_without(path, target) if target else Table.chunks(path))
    if not len(rows.values):
        raise TableError("there are no rows")
    return filled(rows, None)


def _converted(asked: Packing, rows: Table) -> tuple[Table, Converted]:
    """The model in the format to pack, the rows in its order of columns."""
    path = Path(asked.model)
    with path.open("rb") as file:
        if detect(file) in CODE:
            raise Refused("model", "a pickle, or code, is not loaded here")
    model = load_data(path)
    rows = aligned(model, rows)
    try:
        made = from_estimator(model, rows, task="classification" if asked.class_names else None)
    except ModelRefused as error:
        raise Refused("model", error.message) from None
    if not asked.class_names:
        return rows, made
    if len(asked.class_names) != made.signature.outputs or made.signature.task != "classification":
        raise Refused(
            "classes", f"{len(asked.class_names)} names for a model that gives {made.signature.outputs} outputs"
        )
    return rows, replace(made, class_names=asked.class_names)


def _packed(order: Order, rows: Table, made: Converted) -> Packed:
    asked = order.packing
    assert asked is not None  # as above
    island, minted = _island(order, asked, rows)
    units = island.transform(rows)
    parts = Packed(
        island.definition, minted, len(units), rows.columns or positional_names(rows.values.shape[1]), made.format,
        made.file_name, made.signature, made.class_names, made.difference, made.words, made.library,
    )  # fmt: skip
    if asked.private and asked.budget is None:
        digest = hashlib.sha256(np.ascontiguousarray(units, "<f4").tobytes()).digest()
        return msgspec.structs.replace(parts, digest=digest)
    entry, data = specified(units, island, salt=asked.salt, size=asked.size, budget=asked.granted)
    picture = None if asked.private else drawn(Rkme.from_bytes(data), units)
    return msgspec.structs.replace(parts, entry=entry, specification=data, picture=picture)


def _island(order: Order, asked: Packing, rows: Table) -> tuple[Island, bool]:
    """The first that is known and has these features, or a new one; and whether it is new."""
    known = None if asked.mint else adopted(map(Island.from_definition, order.islands), rows)
    return (known, False) if known is not None else (Island.mint(rows), True)


def drawn(rkme: Rkme, units: NDArray[np.float32]) -> Picture:
    """The points on the plane of their main directions, and the rows (n, d) of it counted by cells: such as hold fewer
    than five are left out, so that the picture shows no single row."""
    own = plane(rkme)
    points, rows = own.places(rkme.points), own.places(units)
    low = np.minimum(points.min(axis=0), np.percentile(rows, OUTLYING, axis=0))
    high = np.maximum(points.max(axis=0), np.percentile(rows, 100 - OUTLYING, axis=0))
    high = np.where(high > low, high, low + 1.0)
    counts, across, up = np.histogram2d(
        rows[:, 0], rows[:, 1], bins=(COLUMNS, LINES), range=list(zip(low, high, strict=True))
    )
    cells = tuple(
        Cell(float(across[i]), float(up[j]), float(across[i + 1]), float(up[j + 1]), int(counts[i, j]))
        for i, j in np.argwhere(counts >= LEAST)
    )
    places = tuple((float(x), float(y)) for x, y in points)
    return Picture(places, tuple(map(float, rkme.weights)), cells, own.shares)


def _without(words: str, *paths: str) -> str:
    """An error as a fault of the form, which names no file."""
    for path in paths:
        words = words.replace(f"{path}: ", "").replace(path, "the file")
    return words
