"""``code list|allow|refuse``: others' learnwares of Python code and pickles that this node runs, in its sandbox."""

from __future__ import annotations

import click
from atoll.node.api.code import CodeView
from atoll.node.cli.connection import connected
from atoll.node.cli.output import json_option, print_json, print_table, short, when
from atoll.node.client import AsyncClient


@click.group()
def code() -> None:
    """Others' code that may run on this node."""


@code.command("list")
@json_option
@connected
async def list_(client: AsyncClient, as_json: bool) -> None:
    """List what was let in."""
    _tell(await client.admitted_code(), as_json)


@code.command()
@click.argument("learnware_id")
@click.option("--owner", default="", help="By this peer and no other.")
@click.option("--revision", default="", help="This revision and no other: the one that was looked at.")
@json_option
@connected
async def allow(client: AsyncClient, learnware_id: str, owner: str, revision: str, as_json: bool) -> None:
    """Let the Python code or pickle of a learnware in: this revision, by this owner.

    It runs in the strong sandbox only. Look at it first all the same: what runs there sees the rows that it predicts,
    and no more.
    """
    _tell([await client.allow_code(learnware_id, owner, revision)], as_json)


@code.command()
@click.argument("learnware_id")
@json_option
@connected
async def refuse(client: AsyncClient, learnware_id: str, as_json: bool) -> None:
    """Run the code of a learnware no more."""
    _tell(await client.refuse_code(learnware_id), as_json)


def _tell(found: list[CodeView], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    rows = [(each.name, each.owner_name or short(each.owner), each.learnware_id, short(each.revision),
             when(each.since)) for each in found]  # fmt: skip
    print_table("Code", ["learnware", "owner", "id", "revision", "since"], rows)
