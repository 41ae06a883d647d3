"""Beimingwu's semantic specification, {key: {"Type", "Values"}}: read into our words, written from them, asked with.

What lies outside our bounds or vocabulary is put right where that loses nothing else, and said in ``notes``.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from atoll.engine.encoding import unpack_json
from atoll.engine.errors import EncodingError, SpecificationError
from atoll.engine.semantic import (
    DATA,
    LIBRARIES,
    LICENSES,
    MAX_DESCRIPTION,
    MAX_NAME,
    MAX_TEXT,
    SCENARIOS,
    TASKS,
    SemanticQuery,
    SemanticSpec,
)

FILE = "semantic_specification.json"
MAX_BYTES = 1 << 20
MAX_INPUTS, MAX_OUTPUTS = 100_000, 10_000  # as signatures have them
MAX_COLUMN = 200
MODELS = ("Base Model", "Fine-tuned Model", "PEFT Model", "Others")
OTHERS = "Others"

VOCABULARY: dict[str, dict[str, Any]] = {
    "Data": {"Values": list(DATA), "Type": "Class"},
    "Task": {"Values": list(TASKS), "Type": "Class"},
    "Model": {"Values": list(MODELS), "Type": "Optional"},
    "Library": {"Values": list(LIBRARIES), "Type": "Class"},
    "Scenario": {"Values": list(SCENARIOS), "Type": "Tag"},
    "Description": {"Values": None, "Type": "String"},
    "Name": {"Values": None, "Type": "String"},
    "License": {"Values": list(LICENSES), "Type": "Class"},
}


class Words(msgspec.Struct, frozen=True):
    """What a learnware does. ``input_names`` are there only if every dimension has one and no two are the same; of
    ``output_names`` unnamed ones are ""."""

    spec: SemanticSpec
    inputs: int | None = None
    input_names: tuple[str, ...] = ()
    outputs: int | None = None
    output_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Asked(msgspec.Struct, frozen=True):
    """What somebody searches for: our query, the id if one is named, the columns of the tables that are at hand, and
    the kinds of models, a group that we have not (base, fine-tuned, ...)."""

    query: SemanticQuery
    learnware_id: str = ""
    input_names: tuple[str, ...] = ()
    models: tuple[str, ...] = ()


def read_semantic(data: bytes) -> Words:
    """The words of a learnware; SpecificationError says which key is wrong or missing."""
    tree = _tree(data)
    notes: list[str] = []
    name = _one_line(_string(tree, "Name"))
    if not name:
        raise SpecificationError("the semantic specification has no Name")
    spec = SemanticSpec(
        name=_cut(name, MAX_NAME, "the name", notes),
        description=_cut(_string(tree, "Description"), MAX_DESCRIPTION, "the description", notes),
        data=_choice(tree, "Data", DATA, notes, OTHERS),
        task=_choice(tree, "Task", TASKS, notes, OTHERS),
        library=_choice(tree, "Library", LIBRARIES, notes, OTHERS),
        scenario=_scenarios(tree, notes),
        license=_choice(tree, "License", LICENSES, notes, OTHERS),
    ).check()
    inputs, input_names = _dimension(tree, "Input", MAX_INPUTS)
    outputs, output_names = _dimension(tree, "Output", MAX_OUTPUTS)
    columns = tuple(name[:MAX_COLUMN] for name in input_names)
    if any(columns) and ("" in columns or len(set(columns)) != len(columns)):
        notes.append("the inputs are not all named, or two alike: they are told by their position")
        columns = ()
    return Words(spec, inputs, columns if any(columns) else (), outputs, output_names, tuple(notes))


def write_semantic(
    spec: SemanticSpec, *, inputs: int | None = None, input_names: tuple[str, ...] = (), outputs: int | None = None,
    output_names: tuple[str, ...] = (), model: str = OTHERS,
) -> dict[str, Any]:  # fmt: skip
    """Our words as Beimingwu writes them."""
    tree: dict[str, Any] = {
        "Data": {"Type": "Class", "Values": [spec.data]},
        "Task": {"Type": "Class", "Values": [spec.task]},
        "Library": {"Type": "Class", "Values": [spec.library]},
        "Model": {"Type": "Optional", "Values": [model]},
        "Scenario": {"Type": "Tag", "Values": list(spec.scenario)},
        "Name": {"Type": "String", "Values": spec.name},
        "Description": {"Type": "String", "Values": spec.description or spec.name},  # there it must not be empty
        "License": {"Type": "Class", "Values": [spec.license if spec.license in LICENSES else OTHERS]},
    }
    for key, count, names in (("Input", inputs, input_names), ("Output", outputs, output_names)):
        if count is not None:
            described = {str(place): name for place, name in enumerate(names) if name}
            tree[key] = {"Dimension": count, "Description": described}
    return tree


def dumps(tree: dict[str, Any]) -> bytes:
    """A semantic specification as a file."""
    return json.dumps(tree, ensure_ascii=False, indent=4).encode() + b"\n"


def query(data: bytes) -> Asked:
    """What a semantic specification asks for when it is searched with; SpecificationError says what is wrong. Groups
    without values ask for nothing. The Name, else the Description, is the text."""
    tree = _tree(data)
    text = _string(tree, "Name") or _string(tree, "Description")
    _, names = _dimension(tree, "Input", MAX_INPUTS)
    whole = bool(names) and all(names) and len(set(names)) == len(names)
    asked = SemanticQuery(
        text=text.strip()[:MAX_TEXT],
        data=_values(tree, "Data"),
        task=_values(tree, "Task"),
        library=_values(tree, "Library"),
        scenario=_values(tree, "Scenario"),
        license=_values(tree, "License"),
    )
    return Asked(asked, _string(tree, "learnware_id").strip(), names if whole else (), _values(tree, "Model"))


def _tree(data: bytes) -> dict[str, Any]:
    try:
        return unpack_json(data.removeprefix(b"\xef\xbb\xbf"), dict[str, Any], limit=MAX_BYTES)
    except EncodingError as error:
        raise SpecificationError(f"the semantic specification does not read: {error.message}") from None


def _entry(tree: dict[str, Any], key: str) -> dict[str, Any]:
    entry = tree.get(key)
    if entry is None:
        return {}
    if not isinstance(entry, dict):
        raise SpecificationError(
            f"the semantic specification: {key} is no mapping",
            hint=f'expected {{"{key}": {{"Type": .., "Values": ..}}}}',
        )
    return entry


def _string(tree: dict[str, Any], key: str) -> str:
    value = _entry(tree, key).get("Values")
    if value is None or value == []:
        return ""
    if not isinstance(value, str):
        raise SpecificationError(f"the semantic specification: {key} is not a text")
    return value


def _values(tree: dict[str, Any], key: str) -> tuple[str, ...]:
    """The values of a group; one that is not in a list counts as one."""
    values = _entry(tree, key).get("Values")
    if values is None or values == "":
        return ()
    listed = [values] if isinstance(values, str) else values
    if not isinstance(listed, list) or len(listed) > 64 or any(not isinstance(each, str) for each in listed):
        raise SpecificationError(f"the semantic specification: {key} is not a list of words")
    return tuple(_one_line(each)[:100] for each in listed)


def _choice(tree: dict[str, Any], key: str, allowed: tuple[str, ...], notes: list[str], other: str) -> str:
    """The one value; what is not in the vocabulary becomes ``other`` if that is in it."""
    values = _values(tree, key)
    if len(values) > 1:
        notes.append(f"{key}: of {', '.join(values[:8])} the first is taken")
    value = values[0] if values else ""
    if value in allowed:
        return value
    if other not in allowed or (not value and key == "Task"):
        raise SpecificationError(
            f"the semantic specification: {key} is {value[:80]!r}"
            if value
            else f"the semantic specification has no {key}",
            hint=f"one of {', '.join(allowed)}",
        )
    wrong = f"{value[:80]!r} is not in the vocabulary" if value else "nothing is said"
    notes.append(f"{key}: {wrong}, it is taken as {other}")
    return other


def _scenarios(tree: dict[str, Any], notes: list[str]) -> tuple[str, ...]:
    values = _values(tree, "Scenario")
    unknown = [value for value in values if value not in SCENARIOS]
    if unknown:
        notes.append(f"Scenario: {', '.join(unknown[:8])} not in the vocabulary, taken as {OTHERS}")
    known = dict.fromkeys(value if value in SCENARIOS else OTHERS for value in values)
    return tuple(known) or (OTHERS,)


def _dimension(tree: dict[str, Any], key: str, most: int) -> tuple[int | None, tuple[str, ...]]:
    """How many there are, and their names in order, "" for those that have none; (None, ()) where nothing is said."""
    entry = _entry(tree, key)
    value = entry.get("Dimension")
    if value is None:
        return None, ()
    if isinstance(value, str) and value.strip().isdecimal() and len(value) <= 8:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise SpecificationError(f"the semantic specification: the Dimension of {key} is no number from 1 to {most}")
    described = entry.get("Description") or {}
    if not isinstance(described, dict):
        raise SpecificationError(f"the semantic specification: the Description of {key} is no mapping")
    names = [""] * value
    for place, name in described.items():
        if not place.strip().isdecimal() or len(place) > 8 or int(place) >= value or not isinstance(name, str):
            raise SpecificationError(
                f"the semantic specification: {key} describes {place[:20]!r}, which is none of its {value} dimensions",
                hint='Description maps "0", "1", .. to texts',
            )
        names[int(place)] = _one_line(name)
    return value, tuple(names)


def _one_line(text: str) -> str:
    """The text without what ends lines or steers terminals."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _cut(text: str, most: int, what: str, notes: list[str]) -> str:
    if len(text) <= most:
        return text
    notes.append(f"{what} has {len(text)} characters and is cut to {most}")
    return text[: most - 1] + "…"
