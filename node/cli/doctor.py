"""``doctor``: what this machine has and lacks for a node, and what to do about it."""

from __future__ import annotations

import os
from pathlib import Path

import click
from atoll.node.cli.connection import home_option
from atoll.node.cli.output import clean, console, json_option, print_json
from rich.markup import escape

MARKS = {"fine": "[green]fine[/green]", "look": "[yellow]look[/yellow]", "bad": "[red]bad [/red]"}


@click.command()
@home_option
@json_option
def doctor(home: Path, as_json: bool) -> None:
    """Look at the home, its store, the network, the machine and the running node, and say what to do.

    What peers and federations say needs a token with the scope read in $ATOLL_TOKEN. Exit code 20 if anything is bad.
    """
    from atoll.node.checkup import examine

    found = examine(home, os.environ)
    if as_json:
        print_json(found)
    else:
        for each in found:
            _tell(f"{MARKS[each.state]}  {escape(clean(f'{each.what}: {each.words}'))}")
            if each.todo:
                _tell(f"      → {escape(clean(each.todo))}")
    if any(each.state == "bad" for each in found):
        raise click.exceptions.Exit(20)


def _tell(line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True)
