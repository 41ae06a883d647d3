"""``config show`` and ``config check``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import click
import msgspec
from atoll.node.cli.connection import home_option
from atoll.node.cli.output import clean, json_option, print_json
from atoll.node.errors import ConfigError, outcome
from atoll.node.settings import Setting, faults, settings


@click.group()
def config() -> None:
    """Show or check the configuration."""


@config.command("show")
@click.option("--origin", is_flag=True, help="Say of each key what it means and where its value comes from.")
@home_option
@json_option
def show(home: Path, origin: bool, as_json: bool) -> None:
    """Print every key with the value in force; secrets are hidden."""
    _require_readable(home)
    found = settings(home, os.environ)
    if as_json:
        print_json(found if origin else {section: dict(keys) for section, keys in _by_section(found)})
        return
    for section, keys in _by_section(found):
        click.echo(f"[{section}]")
        of_section = [each for each in found if each.key.startswith(f"{section}.")]
        for (name, value), each in zip(keys, of_section, strict=True):
            click.echo(_line(name, value, each) if origin else f"{name} = {_json(value)}")


@config.command("check")
@home_option
@json_option
def check(home: Path, as_json: bool) -> None:
    """Name everything that is wrong with the configuration, with file and line; exit code 20 if anything is."""
    found = faults(home, os.environ)
    if as_json:
        print_json(found)
    elif not found:
        click.echo("The configuration is fine.")
    for each in () if as_json else found:
        click.echo(clean(f"{each}" + (f" ({each.hint})" if each.hint else "")))
    if found:
        raise click.exceptions.Exit(outcome(ConfigError.code).exit_code)


def _require_readable(home: Path) -> None:
    from atoll.node.config import load

    load(home, os.environ)


def _by_section(found: Sequence[Setting]) -> list[tuple[str, list[tuple[str, object]]]]:
    parts = ((*each.key.split(".", 1), each.value) for each in found)
    return [(section, [(name, value) for _, name, value in keys]) for section, keys in groupby(parts, lambda p: p[0])]


def _line(name: str, value: object, each: Setting) -> str:
    came = each.where or "default"
    return clean(f"{name} = {_json(value)}") + "\n" + clean(f"    # {each.meaning}; {came}")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
