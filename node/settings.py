"""The configuration as people look at it: every key with its value, where that comes from and what it means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
from atoll.node import contradictions, given
from atoll.node.config import FILE, Config
from atoll.node.given import Fault, Given, Origin

HIDDEN = "(hidden)"
USERINFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")


class Setting(msgspec.Struct, frozen=True):
    """``key`` is ``section.name``; ``where`` is the path and line, or the variable, "" for a default. A ``secret`` has
    no value here, and no address shows the password in it."""

    key: str
    value: Any
    default: Any
    origin: Origin
    where: str
    meaning: str
    secret: bool = False

    @property
    def section(self) -> str:
        return self.key.partition(".")[0]

    @property
    def name(self) -> str:
        """Of the key within its section."""
        return self.key.partition(".")[2]


def settings(home: Path, environ: Mapping[str, str]) -> tuple[Setting, ...]:
    """Every key, in order; what cannot be read counts as not given (see :func:`faults`). Reads a file."""
    reading = given.read(Config, home / FILE, environ)
    bad = {fault.key for fault in reading.faults}
    readable = {each: place for each, place in reading.given.items() if ".".join(each) not in bad}
    return tuple(
        _setting(f"{section}.{key}", field, readable.get((section, key)))
        for section, keys in given.sections(Config).items()
        for key, field in keys.items()
    )


def faults(home: Path, environ: Mapping[str, str]) -> tuple[Fault, ...]:
    """Everything that is wrong with a configuration, at once: what cannot be read, else what contradicts itself."""
    reading = given.read(Config, home / FILE, environ)
    if reading.faults:
        return reading.faults
    config = msgspec.convert(reading.tree, Config, strict=False)
    nowhere = Given(None, "default", str(home / FILE), None)
    return tuple(
        reading.given.get((section, key), nowhere).fault(f"{section}.{key}", f"{section}.{key}: {words}", hint)
        for section, key, words, hint in contradictions.found(config, home)
    )


def describe(type_: Any) -> str:
    """What values a key takes, in words: ``number, 1 to 64``."""
    kind, metas = _parts(type_)
    words = {int: "whole number", float: "number", str: "text", bool: "true or false"}.get(kind, "list of texts")
    choices = get_args(kind) if get_origin(kind) is not tuple else ()
    if choices:
        return ", ".join(f"`{each}`" for each in choices)
    low = next((meta.ge if meta.ge is not None else meta.gt for meta in metas if _low(meta)), None)
    high = next((meta.le for meta in metas if meta.le is not None), None)
    over = "above " if any(meta.gt is not None for meta in metas) else "from "
    limits = [f"{over}{_plain(low)}" if low is not None else "", f"to {_plain(high)}" if high is not None else ""]
    return ", ".join(filter(None, [words, " ".join(filter(None, limits))]))


def meaning(type_: Any) -> str:
    """What a key means: the description on its type."""
    return next((meta.description for meta in _parts(type_)[1] if meta.description), "")


def _setting(key: str, field: msgspec.structs.FieldInfo, each: Given | None) -> Setting:
    secret = any((meta.extra or {}).get("secret") for meta in _parts(field.type)[1])
    value = field.default if each is None else msgspec.convert(each.value, field.type, strict=False)
    shown, default = (HIDDEN if secret and one else _masked(one) for one in (value, field.default))
    if each is None:
        return Setting(key, shown, default, "default", "", meaning(field.type), secret)
    where = f"{each.where}, line {each.line}" if each.line else each.where
    return Setting(key, shown, default, each.origin, where, meaning(field.type), secret)


def _masked(value: Any) -> Any:
    """Without the name and the password that an address may carry."""
    if isinstance(value, str):
        return USERINFO.sub(HIDDEN, value)
    return tuple(map(_masked, value)) if isinstance(value, tuple) else value


def _parts(type_: Any) -> tuple[Any, tuple[msgspec.Meta, ...]]:
    """The bare type and what is said of it, innermost first."""
    metas = tuple(meta for meta in getattr(type_, "__metadata__", ()) if isinstance(meta, msgspec.Meta))
    return getattr(type_, "__origin__", type_) if metas else type_, metas


def _low(meta: msgspec.Meta) -> bool:
    return meta.ge is not None or meta.gt is not None


def _plain(number: float) -> str:
    return f"{number:,}".replace(",", " ")
