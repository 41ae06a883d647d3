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
ID = re.compile(r"[0-9a-f]{64}|(12D3|Qm)[1-9A-HJ-NP-Za-km-z]{40,60}")  # of a learnware, say, or of a peer
NARROWEST = 8  # characters of a column beside ids
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value and nothing else.")


def print_json(value: object) -> None:
    text = msgspec.json.encode(value).decode()
    sys.stdout.write(MOVING.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")
    sys.stdout.flush()


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Columns marked "# " hold numbers and stand to the right. Cells are foreign text: shown, never obeyed. Ids stay
    whole, so that they can be copied; where there is no room, what stands beside them is folded."""
    cells = [tuple(map(_cell, row)) for row in rows]
    made = Table(title=title, title_justify="left", header_style="bold")
    for place, column in enumerate(columns):
        number, widest = column.startswith("# "), _widest_id(cells, place)
        made.add_column(
            column.removeprefix("# "), justify="right" if number else "left", no_wrap=number or widest > 0,
            min_width=widest or None, overflow="fold",
        )  # fmt: skip
    for row in cells:
        made.add_row(*map(Text, row))
    return made


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table, or a line for each cell where the ids would leave no room for what stands beside them."""
    cells = [tuple(map(_cell, row)) for row in rows]
    ids = [_widest_id(cells, place) for place in range(len(columns))]
    if not any(ids) or sum(width or NARROWEST for width in ids) + 3 * len(ids) + 1 <= console.width:
        console.print(table(title, columns, cells))
        return
    names = [column.removeprefix("# ") for column in columns]
    room = max(map(len, names))
    blocks = ["\n".join(f"{name:{room}} {cell}" for name, cell in zip(names, row, strict=True)) for row in cells]
    console.print(Text("\n\n".join([title, *blocks])), soft_wrap=True)


def _widest_id(cells: Iterable[Sequence[str]], place: int) -> int:
    """Characters of the longest id in a column, 0 if there is none."""
    return max((len(row[place]) for row in cells if ID.fullmatch(row[place])), default=0)


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
