"""How commands speak: tables for people, one JSON value with ``--json``, errors that say what to type next."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

import click
import msgspec
from atoll.engine.errors import AtollError
from atoll.node.clock import utc
from atoll.node.errors import outcome
from rich.console import Console
from rich.table import Table
from rich.text import Text

console = Console()
MOVING = re.compile(r"[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # what JSON need not escape and a terminal may obey
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value and nothing else.")


def print_json(value: object) -> None:
    text = msgspec.json.encode(value).decode()
    sys.stdout.write(MOVING.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")
    sys.stdout.flush()


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Columns marked "# " hold numbers and stand to the right. Cells are foreign text: shown, never obeyed."""
    made = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        number = column.startswith("# ")
        made.add_column(column.removeprefix("# "), justify="right" if number else "left", no_wrap=number)
    for row in rows:
        made.add_row(*(Text(_cell(value)) for value in row))
    return made


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    console.print(table(title, columns, rows))


def fail(error: AtollError) -> NoReturn:
    """Say what was wrong and what to do, and leave with the exit code of the error."""
    print(_lines(f"error: {error.message} [{error.code}]"), file=sys.stderr)
    if error.hint:
        print(_lines(f"hint: {error.hint}"), file=sys.stderr)
    sys.exit(outcome(error.code).exit_code)


def when(at: int) -> str:
    """A time in ms as people read it, UTC."""
    return utc(at).strftime("%Y-%m-%d %H:%M:%S")


def short(text: str) -> str:
    """An id as people compare it."""
    return text if len(text) <= 16 else f"{text[:8]}…{text[-4:]}"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(_cell, value))
    return clean("-" if value is None else str(value))


def _lines(text: str) -> str:
    return "\n".join(map(clean, text.split("\n")))


def clean(text: str) -> str:
    """Foreign text for a terminal: nothing in it moves the cursor."""
    return "".join(character if character.isprintable() else " " for character in text)
