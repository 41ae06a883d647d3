"""``doctor``: what this machine has and lacks for a node, and what to do about it."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import click
import msgspec
from atoll.engine.errors import AtollError
from atoll.node import config as configs
from atoll.node import identity as identities
from atoll.node.cli.connection import home_option
from atoll.node.cli.output import console, json_option, print_json
from atoll.node.client import AsyncClient
from atoll.node.client.endpoint import url_of
from rich.markup import escape

EXTRAS = {
    "skops": "skops", "lightgbm": "lightgbm", "xgboost": "xgboost", "pyarrow": "tables", "matplotlib": "draw",
    "sentence_transformers": "text", "uv": "environments",
}  # fmt: skip
MARKS = {"fine": "[green]fine[/green]", "look": "[yellow]look[/yellow]", "bad": "[red]bad[/red]"}


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    what: str
    state: Literal["fine", "look", "bad"]
    words: str


@click.command()
@home_option
@json_option
def doctor(home: Path, as_json: bool) -> None:
    """Look at the home, the sandbox, optional libraries and the running node."""
    found = [look(home) for look in (_home, _config, _sandbox, _extras, _node)]
    if as_json:
        print_json(found)
    else:
        for each in found:
            console.print(f"{MARKS[each.state]}  {each.what}: {escape(each.words)}", highlight=False)
    if any(each.state == "bad" for each in found):
        raise click.exceptions.Exit(20)


def _home(home: Path) -> Finding:
    return _tried("home", lambda: f"{home}, {identities.load(home).peer}")


def _config(home: Path) -> Finding:
    return _tried("configuration", lambda: f"{configs.load(home, os.environ).node.name!r}, every key is known")


def _sandbox(home: Path) -> Finding:
    from atoll.engine.runtime import rung

    held = rung()
    words = f"{held.level} ({', '.join(held.layers) or 'nothing'})"
    if not held.missing:
        return Finding("sandbox", "fine", words)
    return Finding("sandbox", "look" if held.level == "limited" else "bad", f"{words}; {held.missing}: {held.hint}")


def _extras(home: Path) -> Finding:
    missing = sorted({extra for module, extra in EXTRAS.items() if importlib.util.find_spec(module) is None})
    if not missing:
        return Finding("optional libraries", "fine", "all are there")
    return Finding(
        "optional libraries", "look", f"without {', '.join(missing)}: pip install 'atoll[{','.join(missing)}]'"
    )


def _node(home: Path) -> Finding:
    async def ask() -> str:
        async with AsyncClient(url_of(home)) as client:
            node = await client.node()
            return f"{node.name!r} serves, peers reach it at {', '.join(node.addresses) or 'no address'}"

    try:
        return Finding("node", "fine", asyncio.run(ask()))
    except AtollError as error:
        return Finding("node", "look", f"none runs here: {error.message}")


def _tried(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, "fine", look())
    except AtollError as error:
        return Finding(what, "bad", error.message + (f": {error.hint}" if error.hint else ""))
