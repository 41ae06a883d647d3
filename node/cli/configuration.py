"""``config show`` and ``config check``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
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
        sections = {section: {each.name: each.value for each in keys} for section, keys in _by_section(found)}
        print_json(found if origin else sections)
        return
    for section, keys in _by_section(found):
        click.echo(f"[{section}]")
        for each in keys:
            click.echo(_line(each) if origin else f"{each.name} = {_json(each.value)}")


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


def _by_section(found: Iterable[Setting]) -> Iterator[tuple[str, Iterator[Setting]]]:
    return groupby(found, lambda each: each.section)


def _line(each: Setting) -> str:
    came = each.where or "default"
    return clean(f"{each.name} = {_json(each.value)}") + "\n" + clean(f"    # {each.meaning}; {came}")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
