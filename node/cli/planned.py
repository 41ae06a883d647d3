"""The plan of a reuse as people read it before they agree, on standard error, and the question whether they do."""

from __future__ import annotations

import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import click
from atoll.node.cli.output import clean, short, table
from atoll.node.errors import ConsentNeeded
from atoll.node.reuse import words
from atoll.node.reuse.query import ReusePlan
from rich.console import Console


def show(plan: ReusePlan) -> None:
    """Who would take part, and what would leave the node, to whom."""
    chosen = plan.method == "auto"
    told = f"the method is chosen on {words.counted(plan.labelled, 'labelled row')}"
    how = told if chosen else words.method(plan.method)
    click.echo(
        f"Plan: {words.counted(len(plan.members), 'model')} for {words.counted(plan.rows, 'row')}, {how}", err=True
    )
    columns = ("name", "owner", "# weight", "runs at", "# rows, at most" if chosen else "# rows", "licence")
    rows = [
        (
            each.name, each.owner_name or short(each.owner), words.percent(each.weight), words.place(each.place),
            words.count(each.rows), each.license or "not said",
        )
        for each in plan.members
    ]  # fmt: skip
    Console(stderr=True).print(table("", columns, rows))
    for line in _about(plan):
        click.echo(clean(line), err=True)


def agree(plan: ReusePlan, *, yes: bool) -> None:
    """Returns if the user lets rows leave the node, or if none would. ConsentNeeded otherwise."""
    if yes or not plan.sends_rows:
        return
    if not sys.stdin.isatty():
        raise ConsentNeeded(
            "rows would leave the node, and nobody can be asked here",
            hint="--yes lets them go as the plan says; --no-send uses only what runs at the node",
        )
    with _interruptible():
        agreed = click.confirm("Let the rows leave the node, as the plan says?", err=True)
    if not agreed:
        raise ConsentNeeded("no row has left the node", hint="--no-send uses only what runs at the node")


def _about(plan: ReusePlan) -> list[str]:
    lines = [f"From the node: {sentence}" for sentence in plan.leaves or ("nothing leaves it.",)]
    if len(plan.licenses) > 1:
        lines.append(f"Their licences differ: {', '.join(plan.licenses)}.")
    lines += [
        f"Without {words.counted(count, 'learnware')}: {why}"
        for why, count in Counter(plan.skipped.values()).most_common()
    ]
    lines.append(f"The models explain {words.percent(plan.explained)} of your data.")
    if plan.uncovered >= 0.0005:
        what = (
            f"; {words.counted(plan.abstained, 'row gets', 'rows get')} no answer"
            if plan.abstained
            else "; what is predicted for them is a guess"
        )
        lines.append(f"{words.percent(plan.uncovered)} of the rows are unlike all that the models know{what}.")
    return [*lines, *([plan.advice] if plan.advice else [])]


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C ends a question: asyncio's own handler, which only the main thread has, would wait for the answer."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
