"""Beimingwu's statistical specifications, JSON told apart by its ``type``: what is read here, and why the rest is not.

Numbers only are read; nothing is built by a name that a file gives.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from atoll.engine.beimingwu.legacy import GAMMA, TEXT, TEXT_DIMENSION, image_island, table_island, text_island
from atoll.engine.encoding import unpack_json
from atoll.engine.errors import DimensionMismatch, EncodingError, SpecificationError
from atoll.engine.islands import Island
from atoll.engine.naming import listed
from atoll.engine.specs.formats import checked, plain, to_json
from atoll.engine.specs.rkme import MAX_POINTS, Rkme
from numpy.typing import NDArray

MAX_BYTES = 64 << 20
MAX_AXES = 4
MAX_NUMBERS, MAX_LISTS = 1 << 23, 1 << 18  # in the JSON: a thousand points of 4096 numbers, and what is around them
ROWS_PER_POINT = 5  # as the privacy gate has it
TABLE, TEXTS, IMAGE = "RKMETableSpecification", "RKMETextSpecification", "RKMEImageSpecification"

Kind = Literal["table", "text", "image", "hetero", "words"]
KINDS: dict[str, Kind] = {
    TABLE: "table",
    "RKMEStatSpecification": "table",  # what it was called before
    TEXTS: "text",
    IMAGE: "image",
    "HeteroMapTableSpecification": "hetero",
    "GenerativeModelSpecification": "words",
    "LLMGeneralCapabilitySpecification": "words",
}
REFUSED: dict[Kind, str] = {
    "hetero": "a heterogeneous specification is of the space of one market's map, which is not shipped with it",
    "words": "a language model's specification is no sample of its data: it can be found by words alone",
}


class Given(NamedTuple):
    """A specification: its island, its RKME, the JSON as it came, and what was put right in it, in words."""

    island: Island
    rkme: Rkme
    original: bytes
    notes: tuple[str, ...] = ()


class _Json(msgspec.Struct, frozen=True):
    z: list[Any] = []
    beta: list[Any] = []
    gamma: float = GAMMA
    num_points: int | None = None
    type: str = ""
    n_models: int = 16
    model_config: dict[str, Any] = {}


def kind_of(class_name: str) -> Kind:
    """What a class of Beimingwu's specifies; SpecificationError for a name that is none of them."""
    if class_name not in KINDS:
        raise SpecificationError(
            f"specifications of type {class_name[:80]!r} are not known", hint=f"known: {listed(KINDS)}"
        )
    return KINDS[class_name]


def read_specification(data: bytes, class_name: str = "") -> Given:
    """The specification in a JSON file, told by its ``type``, or where it has none by ``class_name``, with which it
    must agree. SpecificationError (or a child) names what is refused and why."""
    if class_name and kind_of(class_name) in REFUSED:
        raise SpecificationError(f"{class_name}: {REFUSED[kind_of(class_name)]}")
    try:
        _check_size(data)
        json = unpack_json(data, _Json, limit=MAX_BYTES)
    except EncodingError as error:
        raise SpecificationError(f"not a statistical specification: {error.message}") from None
    told = json.type or class_name
    if not told:
        raise SpecificationError("the specification does not say of which type it is")
    kind = kind_of(told)
    if class_name and kind_of(class_name) != kind:
        raise SpecificationError(f"the specification is of type {told}, it is announced as {class_name[:80]}")
    if kind in REFUSED:
        raise SpecificationError(f"{told}: {REFUSED[kind]}")
    return _image(json, data) if kind == "image" else _points(json, kind, data)


def write_specification(rkme: Rkme, island: Island) -> bytes:
    """The JSON of a table or text specification whose points are in raw units; SpecificationError for images, whose
    points are nothing without the basis that they are whitened by, and for what Beimingwu could not compare."""
    texts = island.kind == "text" and island.encoder is not None and island.encoder.name == TEXT
    if not texts and not (island.kind == "table" and island.raw.all()):
        raise SpecificationError(
            f"points of island {island.id[:8]} mean nothing to Beimingwu", hint="it compares tables in raw units only"
        )
    return msgspec.json.encode(plain(rkme, TEXTS) | {"language": []}) if texts else to_json(rkme)


def _check_size(data: bytes) -> None:
    """Before anything is read: what is short in JSON, an empty list say, is long in memory."""
    lists, numbers = data.count(b"[") + data.count(b"{"), data.count(b",")
    if lists > MAX_LISTS or numbers > MAX_NUMBERS:
        raise SpecificationError(f"the specification holds {numbers} values in {lists} lists, which is too many")


def _points(json: _Json, kind: Kind, data: bytes) -> Given:
    z = _numbers(json.z, "z")
    points = z.reshape(len(z), -1)
    if kind == "text" and points.shape[1] != TEXT_DIMENSION:
        raise DimensionMismatch(f"a text specification has {TEXT_DIMENSION} dimensions, this one {points.shape[1]}")
    if not (math.isfinite(json.gamma) and json.gamma > 0):
        raise SpecificationError(f"gamma is {json.gamma:g}, it must be positive")
    island = text_island(json.gamma) if kind == "text" else table_island(points.shape[1], json.gamma)
    return _given(island, points, json, data)


def _image(json: _Json, data: bytes) -> Given:
    z = _numbers(json.z, "z")
    if z.ndim != MAX_AXES:
        raise DimensionMismatch("the points of an image specification have channels, height and width")
    return _given(image_island(z.shape[1:], json.n_models, json.model_config), z.reshape(len(z), -1), json, data)


def _given(island: Island, points: NDArray[Any], json: _Json, data: bytes) -> Given:
    weights = _numbers(json.beta, "beta")
    count = json.num_points or len(points)
    rkme, note = checked(points, weights.reshape(-1), island.gamma, count)
    notes = [f"the specification: {note}"] if note else []
    if not json.num_points:
        notes.append("the specification does not say of how many rows it is: it counts as of one for each point")
    elif count < ROWS_PER_POINT * len(points):
        notes.append(
            f"the specification has {len(points)} points for {count} rows: some may be, or give away, rows of its data"
        )
    return Given(island, rkme, data, tuple(notes))


def _numbers(nested: list[Any], what: str) -> NDArray[Any]:
    if not 1 <= len(nested) <= MAX_POINTS:
        raise SpecificationError(f"{what} has {len(nested)} entries, 1 to {MAX_POINTS} are taken")
    _check_numbers(nested, what, MAX_AXES)
    try:
        found = np.array(nested, np.float64)
    except (ValueError, OverflowError):
        raise DimensionMismatch(f"the entries of {what} are not all of one shape, or too large") from None
    if found.size == 0:
        raise SpecificationError(f"{what} does not hold plain numbers")
    return found


def _check_numbers(nested: list[Any], what: str, axes: int) -> None:
    """That there is nothing but numbers in lists of one length: of texts numpy would make something huge."""
    kinds = set(map(type, nested))
    if kinds <= {int, float}:
        return
    if kinds != {list} or axes == 1:
        raise SpecificationError(f"{what} does not hold plain numbers")
    if len(set(map(len, nested))) != 1:
        raise DimensionMismatch(f"the entries of {what} are not all of one shape")
    for each in nested:
        _check_numbers(each, what, axes - 1)
