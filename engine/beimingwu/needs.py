"""The requirements of a Beimingwu package, without ``learnware`` itself: the runtime provides the class that models
derive from, and the package would bring gigabytes with it."""

from __future__ import annotations

import re
from typing import Any

import yaml
from atoll.engine.beimingwu.contents import Contents
from atoll.engine.errors import ModelRefused
from atoll.engine.runtime.environments import Needs
from atoll.engine.runtime.requirements import CONDA, MAX_BYTES, TEXT, read

_PROVIDED = re.compile(r"learnware(?![\w.-])", re.IGNORECASE)


def read_needs(contents: Contents) -> tuple[Needs | None, tuple[str, ...]]:
    """What the package needs to run, and notes: of its lists the one for conda, as Beimingwu takes it, else the one for
    pip. None where there is none, or it is not one that is built here; then a note says why."""
    found = [name for name in (*CONDA, TEXT) if name in contents.sizes]
    if not found:
        return None, ()
    name = found[0]
    try:
        needs, notes = _without(Needs(name, contents.read(name, MAX_BYTES)))
        if not needs.data.strip():
            return None, notes
        wanted = read(needs.name, needs.data)
    except (ModelRefused, RecursionError) as error:
        why = error.message if isinstance(error, ModelRefused) else "it is nested too deeply"
        return None, (f"{name} is not used, the model runs on what its node has: {why}",)
    return (needs if wanted.wanted or wanted.native else None), notes


def _without(needs: Needs) -> tuple[Needs, tuple[str, ...]]:
    """The list without learnware; where that is not in it, its very bytes."""
    try:
        text = needs.data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ModelRefused("it is no text in UTF-8") from None
    left = _lines(text) if needs.name == TEXT else _conda(text)
    if left is None:
        return Needs(needs.name, text.encode()), ()
    note = f"{needs.name}: learnware is left out, the runtime provides what models derive from"
    return Needs(needs.name, left.encode()), (note,)


def _lines(text: str) -> str | None:
    lines = text.splitlines(keepends=True)
    left = [line for line in lines if not _PROVIDED.match(line.strip())]
    return None if len(left) == len(lines) else "".join(left)


def _conda(text: str) -> str | None:
    read(CONDA[0], text.encode())  # bounded, and without aliases
    tree = yaml.load(text, Loader=yaml.BaseLoader)
    entries: list[Any] = tree["dependencies"]
    left: list[Any] = []
    for entry in entries:
        if isinstance(entry, dict):
            entry = {key: [each for each in listed if not _is_provided(each)] for key, listed in entry.items()}
        if not _is_provided(entry):
            left.append(entry)
    if left == entries:
        return None
    return str(yaml.dump({**tree, "dependencies": left}, Dumper=yaml.SafeDumper, sort_keys=False, allow_unicode=True))


def _is_provided(entry: object) -> bool:
    return isinstance(entry, str) and _PROVIDED.match(entry.rpartition("::")[2].strip()) is not None
