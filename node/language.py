"""In which language people are spoken to: that of the request, else English.

Messages are English in the code; ``locale/<language>/*.po`` hold the others, a file a room. A language holds for a
context (a request and the threads it uses), so nothing has to be handed down to where words are made.

A new message: mark it, with ``{% trans %}`` or ``_("...")`` in a template, ``gettext`` or ``ngettext`` in Python,
``later`` where it stands at import, and put it into a .po of each language, with the same placeholders and elements.
What outlives the request that has asked for it is made ``in_each`` language. A new language: its name in ``LANGUAGES``
and a folder of .po files. tests/node/test_languages.py names what is missing.
"""

from __future__ import annotations

import gettext as standard
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import resources
from typing import NamedTuple, TypeVar

from atoll.node.clock import utc
from babel import dates, negotiate_locale, numbers
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from jinja2 import Environment

LANGUAGES = {"en": "English", "zh": "中文"}
DEFAULT = "en"
T = TypeVar("T")
_current: ContextVar[str] = ContextVar("language", default=DEFAULT)


def current() -> str:
    """The code of the language in force."""
    return _current.get()


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Within the block people are spoken to in this language."""
    token = _current.set(language)
    try:
        yield
    finally:
        _current.reset(token)


def install(environment: Environment) -> None:
    """Let templates speak: ``{% trans %}``, ``_()``, ``gettext()`` and ``ngettext()``."""
    environment.install_gettext_callables(gettext, ngettext, newstyle=True)  # type: ignore[attr-defined]
    environment.policies["ext.i18n.trimmed"] = True


def in_each(make: Callable[[], T]) -> dict[str, T]:
    """What is made in each language, by its code: for what others read than have asked for it."""
    made = {}
    for language in LANGUAGES:
        with speaking(language):
            made[language] = make()
    return made


def preferred(accepted: str) -> str:
    """The best language for a header Accept-Language."""
    wanted: list[tuple[float, str]] = []
    for part in accepted[:400].split(","):
        code, _, quality = part.strip().partition(";q=")
        try:
            wanted.append((-float(quality or 1), code.replace("-", "_")))
        except ValueError:
            continue
    return negotiate_locale([code for _, code in sorted(wanted, key=lambda each: each[0])], list(LANGUAGES)) or DEFAULT


def gettext(message: str) -> str:
    """The message in the language in force."""
    return _messages(current()).plain.get(message, message)


def ngettext(one: str, many: str, count: int) -> str:
    """One of the messages, by the count; it is not put in."""
    messages = _messages(current())
    forms = messages.counting.get((one, many))
    return forms[messages.form(count)] if forms else one if count == 1 else many


def later(message: str) -> str:
    """The message itself: it is translated where it is shown."""
    return message


def moment(at: int) -> str:
    """A time (ms) in UTC, to the minute; empty for 0."""
    return dates.format_datetime(utc(at), "yyyy-MM-dd HH:mm", locale=current()) if at else ""


def ago(at: int, now: int) -> str:
    """How long before ``now`` (both ms), or how long until then, in words."""
    return dates.format_timedelta(utc(at) - utc(now), add_direction=True, locale=current(), threshold=1.1)


def number(value: float) -> str:
    return numbers.format_decimal(value, locale=current())


def size(count: int) -> str:
    """Bytes, in the binary unit that suits."""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{numbers.format_decimal(value, '#,##0.#' if value < 100 else '#,##0', locale=current())} {units[0]}"


def catalogues(language: str) -> list[Catalog]:
    """What is translated, a catalogue a room."""
    folder = resources.files("atoll.node").joinpath("locale", language)
    if not folder.is_dir():
        return []
    found = sorted((each for each in folder.iterdir() if each.name.endswith(".po")), key=lambda each: each.name)
    return [read_po(io.BytesIO(each.read_bytes()), locale=language) for each in found]


class English(str):
    """Text that stays as it is in every language: what an error says."""

    __slots__ = ()


class _Messages(NamedTuple):
    """A language: messages by what they are in English, those that count by (one, many), and which of the latter's
    forms goes with a count."""

    plain: dict[str, str]
    counting: dict[tuple[str, str], Sequence[str]]
    form: Callable[[int], int]


@cache
def _messages(language: str) -> _Messages:
    made = _Messages({}, {}, standard.c2py(Catalog(locale=language).plural_expr))
    for catalogue in catalogues(language):
        for message in catalogue:
            match message.id, message.string:
                case (str(one), str(many)), tuple(forms) if all(forms):
                    made.counting[one, many] = forms
                case str(plain), str(text) if plain and text:
                    made.plain[plain] = text
    return made
