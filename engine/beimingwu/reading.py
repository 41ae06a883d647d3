"""A Beimingwu package read as a whole: configuration, words, specifications, requirements. Nothing in it runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import IO, NamedTuple

import msgspec
from atoll.engine.beimingwu import semantic as words_of
from atoll.engine.beimingwu.config import MAX_BYTES as MAX_CONFIG
from atoll.engine.beimingwu.config import Config, StatEntry, read_config
from atoll.engine.beimingwu.contents import YAML, Contents, open_contents
from atoll.engine.beimingwu.needs import read_needs
from atoll.engine.beimingwu.semantic import Words, read_semantic
from atoll.engine.beimingwu.specifications import MAX_BYTES as MAX_SPECIFICATION
from atoll.engine.beimingwu.specifications import REFUSED, Given, kind_of, read_specification
from atoll.engine.errors import PackageError, SpecificationError
from atoll.engine.naming import ALIAS, ALIAS_IS
from atoll.engine.runtime.environments import Needs

MAX_MODULE = 1 << 20
GENERATION = "Text Generation"
_SHAPE = r"(?<!\w){} ?= ?[(\[] ?(\d{{1,6}}(?: ?, ?\d{{1,6}}){{0,3}}) ?,? ?[)\]]"  # where white space is one space


class Shapes(NamedTuple):
    """What the model takes and gives for each row as its code or its arguments say in plain numbers; () where not."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Foreign(NamedTuple):
    """What a package holds. ``semantic`` is the JSON that ``words`` are read from; ``given`` are the specifications
    that are taken, none of language models that are known by words alone; ``alias`` is the old id, or ""."""

    config: Config
    words: Words
    semantic: bytes
    given: tuple[Given, ...]
    needs: Needs | None
    shapes: Shapes
    notes: tuple[str, ...]
    alias: str


def read_foreign(source: Path | IO[bytes] | Contents, semantic: bytes | None = None) -> Foreign:
    """Read a zip or folder; ``semantic`` stands in for the JSON that it holds, or does not hold. PackageError or
    SpecificationError (or a child) says what is missing, wrong or refused."""
    if not isinstance(source, Contents):
        with open_contents(source) as contents:
            return read_foreign(contents, semantic)
    if YAML not in source.sizes:
        raise PackageError(f"the package holds no {YAML}", hint="it lies at the top of the zip, or of its one folder")
    config = read_config(source.read(YAML, MAX_CONFIG))
    if config.model.module_path not in source.sizes:
        raise PackageError(f"{YAML}: the package holds no {config.model.module_path}, which is to define the model")
    json = _semantic(source, config) if semantic is None else semantic
    words = read_semantic(json)
    given, notes = _specifications(source, config, words)
    if source.hidden:
        notes.append(f"{source.hidden} files and folders whose names begin with a dot are left out")
    needs, about_needs = read_needs(source)
    alias, about_alias = _alias(config)
    if config.model.required:
        notes.append(f"it builds on the learnwares {', '.join(config.model.required[:8])}, which are not part of it")
    every = (*words.notes, *notes, *about_needs, *about_alias)
    return Foreign(config, words, json, given, needs, _shapes(source, config), every, alias)


def _semantic(source: Contents, config: Config) -> bytes:
    name = config.semantic_file or words_of.FILE
    if name not in source.sizes:
        raise SpecificationError(
            "the package has no semantic specification: nobody would find it",
            hint="give it beside the package, as Beimingwu's upload does: --semantic FILE.json",
        )
    return source.read(name, words_of.MAX_BYTES)


def _specifications(source: Contents, config: Config, words: Words) -> tuple[tuple[Given, ...], list[str]]:
    given: dict[str, Given] = {}
    notes: list[str] = []
    by_words = words.spec.data == "Text" and words.spec.task == GENERATION
    for entry in config.stat_specifications:
        kind = kind_of(entry.class_name) if entry.class_name else None
        if kind in REFUSED:
            notes.append(f"{entry.file_name} is left out: {REFUSED[kind]}")
            by_words = by_words or (kind == "words" and words.spec.data == "Text")
            continue
        found = _specification(source, entry)
        if found.island.id in given:
            notes.append(f"{entry.file_name} is left out: a specification of the same island comes before it")
            continue
        given[found.island.id] = found
        notes += found.notes
    if not given and not by_words:
        raise SpecificationError(
            "; ".join(["the package has no statistical specification that can be used", *notes]),
            hint="add an RKME of the data that the model is good on, as a .json, to it and to its learnware.yaml",
        )
    return tuple(given.values()), notes


def _specification(source: Contents, entry: StatEntry) -> Given:
    if entry.file_name not in source.sizes:
        raise SpecificationError(f"{YAML} names the specification {entry.file_name}, which the package does not hold")
    try:
        return read_specification(source.read(entry.file_name, MAX_SPECIFICATION), entry.class_name)
    except SpecificationError as error:
        raise type(error)(f"{entry.file_name}: {error.message}", hint=error.hint) from None


def _alias(config: Config) -> tuple[str, tuple[str, ...]]:
    if not config.id or ALIAS.fullmatch(config.id):
        return config.id, ()
    return "", (f"the id {config.id[:80]!r} is not kept: {ALIAS_IS}",)


def _shapes(source: Contents, config: Config) -> Shapes:
    """From the arguments in learnware.yaml, else from the module's text where it says one thing only: it is not run."""
    text = ""
    if source.sizes[config.model.module_path] <= MAX_MODULE:
        code = source.read(config.model.module_path, MAX_MODULE).decode("utf-8", errors="replace")
        text = " ".join(re.sub(r"#.*", "", code).split())
    return Shapes(*(_shape(config, text, name) for name in ("input_shape", "output_shape")))


def _shape(config: Config, text: str, name: str) -> tuple[int, ...]:
    try:
        return msgspec.convert(config.model.kwargs.get(name), tuple[int, ...])
    except msgspec.ValidationError:
        found = {tuple(map(int, each.split(","))) for each in re.findall(_SHAPE.format(name), text)}
        return found.pop() if len(found) == 1 else ()
