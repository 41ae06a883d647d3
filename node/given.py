"""What was given for a configuration, in a TOML file and in the environment: where each value stands, what is wrong.

A fault is one sentence about one place; all of them are found at once.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
from rapidfuzz import process

PREFIX = "ATOLL__"
NEAR = 60  # of 100: what is less alike is no misspelling
Origin = Literal["default", "file", "environment"]
Key = tuple[str, str]


class Fault(msgspec.Struct, frozen=True):
    """``where`` is a path or the name of a variable; ``key`` is empty where the file as a whole cannot be read."""

    where: str
    line: int | None
    key: str
    words: str
    hint: str | None = None

    def __str__(self) -> str:
        line = f", line {self.line}" if self.line else ""
        return f"{self.where}{line}: {self.words}"


class Given(NamedTuple):
    """A value and where it stands."""

    value: Any
    origin: Origin
    where: str
    line: int | None

    def fault(self, key: str, words: str, hint: str | None = None) -> Fault:
        return Fault(self.where, self.line, key, words, hint)


class Reading(NamedTuple):
    """What was given by section and key, of those that are known; and every fault."""

    given: dict[Key, Given]
    faults: tuple[Fault, ...]

    @property
    def tree(self) -> dict[str, dict[str, Any]]:
        """The values as msgspec converts them."""
        tree: dict[str, dict[str, Any]] = {}
        for (section, key), each in self.given.items():
            tree.setdefault(section, {})[key] = each.value
        return tree


def read(type_: type[msgspec.Struct], path: Path, environ: Mapping[str, str]) -> Reading:
    """Read a configuration of ``type_``, a struct of sections that are structs; raises nothing."""
    try:
        text = path.read_text("utf-8") if path.exists() else ""
        tree = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        line = re.search(r"at line (\d+)", str(error))
        return Reading({}, (Fault(str(path), int(line[1]) if line else None, "", str(error)),))
    known = sections(type_)
    given, faults = _of_file(known, path, tree, lines_of(text))
    for name in sorted(name for name in environ if name.startswith(PREFIX)):
        section, _, key = name.removeprefix(PREFIX).lower().partition("__")
        each = Given(environ[name], "environment", name, None)
        if key not in known.get(section, {}):
            faults.append(_unknown(known, section, key, each))
        else:
            several = "tuple" in str(known[section][key].type)
            given[section, key] = each._replace(value=each.value.split(",")) if several else each
    return Reading(given, (*faults, *_wrong(type_, known, given)))


def sections(type_: type[msgspec.Struct]) -> dict[str, dict[str, msgspec.structs.FieldInfo]]:
    """Its keys by section, in order."""
    return {
        section.name: {field.name: field for field in msgspec.structs.fields(section.type)}
        for section in msgspec.structs.fields(type_)
    }


def lines_of(text: str) -> dict[Key, int]:
    """On which line each key of a TOML text stands: that where the statement begins with which it is there."""
    found: dict[Key, int] = {}
    lines, begin = text.splitlines(keepends=True), 1
    for end in range(1, len(lines) + 1):
        try:
            tree = tomllib.loads("".join(lines[:end]))
        except tomllib.TOMLDecodeError:  # in the middle of a statement
            continue
        for key in _keys(tree):
            found.setdefault(key, begin)
        begin = end + 1
    return found


def _keys(tree: dict[str, Any]) -> Iterator[Key]:
    for section, keys in tree.items():
        yield section, ""
        if isinstance(keys, dict):
            yield from ((section, key) for key in keys)


def _of_file(
    known: Mapping[str, Mapping[str, Any]], path: Path, tree: dict[str, Any], lines: dict[Key, int]
) -> tuple[dict[Key, Given], list[Fault]]:
    given: dict[Key, Given] = {}
    faults: list[Fault] = []
    for (section, key), line in lines.items():
        values = tree[section]
        place = Given(values[key] if key else values, "file", str(path), line)
        if section not in known:
            faults += [] if key else [_unknown(known, section, "", place)]
        elif not isinstance(values, dict):
            words = f"{section} is a section, not a value"
            faults.append(place.fault(section, words, f"write [{section}] and its keys below"))
        elif key in known[section]:
            given[section, key] = place
        elif key:
            faults.append(_unknown(known, section, key, place))
    return given, faults


def _unknown(known: Mapping[str, Mapping[str, Any]], section: str, key: str, place: Given) -> Fault:
    """The fault of a name that means nothing."""
    if section not in known:
        return place.fault(section, f"unknown key {section!r}", _nearest(section, known))
    return place.fault(
        f"{section}.{key}".rstrip("."), f"[{section}] unknown key {key!r}", _nearest(key, known[section])
    )


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    nearest = process.extractOne(name, list(known))
    return f"did you mean {nearest[0]!r}?" if nearest and nearest[1] > NEAR else f"known: {', '.join(known)}"


def _wrong(
    type_: type[msgspec.Struct], known: Mapping[str, Mapping[str, msgspec.structs.FieldInfo]], given: dict[Key, Given]
) -> Iterator[Fault]:
    """Values of the wrong kind or out of their range; then what a section as a whole refuses."""
    bad = set()
    for (section, key), each in given.items():
        try:
            msgspec.convert(each.value, known[section][key].type, strict=False)
        except msgspec.ValidationError as error:
            bad.add(section)
            yield each.fault(f"{section}.{key}", f"{section}.{key}: {_plain(error)}")
    for field in msgspec.structs.fields(type_):
        values = {key: each for (section, key), each in given.items() if section == field.name}
        if field.name in bad or not values:
            continue
        try:
            msgspec.convert({key: each.value for key, each in values.items()}, field.type, strict=False)
        except msgspec.ValidationError as error:
            yield next(iter(values.values())).fault(field.name, f"[{field.name}] {_plain(error)}")


def _plain(error: msgspec.ValidationError) -> str:
    return re.sub(r" - at `.*`$", "", str(error))
