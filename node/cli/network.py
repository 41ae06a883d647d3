"""``island`` and ``token`` commands."""

from __future__ import annotations

import asyncio
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from atoll.engine.islands import Island
from atoll.engine.naming import listed
from atoll.engine.tables import Table
from atoll.node.cli.connection import connected
from atoll.node.cli.output import json_option, print_json, print_table, short
from atoll.node.client import AsyncClient
from atoll.node.store.tokens import SCOPES
from atoll.protocol.errors import NotFound


@click.group()
def island() -> None:
    """Specification islands."""


@island.command("list")
@json_option
@connected
async def list_islands(client: AsyncClient, as_json: bool) -> None:
    """List the islands the node knows."""
    found = await client.islands()
    if as_json:
        print_json([{"id": each.id, "kind": each.kind, "features": each.names} for each in found])
    else:
        rows = [(each.id, each.kind, each.dimension, listed(each.names, 4)) for each in found]
        print_table("Islands", ["id", "kind", "# dimension", "features"], rows)


@island.command("show")
@click.argument("island_id")
@click.option("--csv-header", is_flag=True, help="Print the names as the first line of a CSV, nothing else.")
@json_option
@connected
async def show_island(client: AsyncClient, island_id: str, csv_header: bool, as_json: bool) -> None:
    """All columns of an island, with their units. ISLAND_ID may be cut short."""
    each = _named(await client.islands(), island_id)
    if as_json:
        features = [{"name": feature.name, "unit": feature.unit} for feature in each.features]
        print_json({"id": each.id, "kind": each.kind, "dimension": each.dimension, "features": features})
    elif csv_header:
        csv.writer(sys.stdout, lineterminator="\n").writerow(each.names)
    else:
        click.echo(f"Island {each.id}, {each.kind}, of {each.dimension} columns")
        print_table("", ["column", "unit"], [(feature.name, feature.unit or "-") for feature in each.features])


def _named(islands: Sequence[Island], beginning: str) -> Island:
    """The one whose id begins so."""
    found = [each for each in islands if each.id.startswith(beginning.lower())]
    if len(found) != 1:
        why = f"{len(found)} islands begin with" if found else "no island of the node begins with"
        raise NotFound(f"{why} {beginning}", hint="`atoll island list` shows them")
    return found[0]


@island.command("mint")
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True, help="Rows (CSV, .npy).")
@json_option
@connected
async def mint(client: AsyncClient, data: Path, as_json: bool) -> None:
    """Make an island from robust statistics of DATA, where none has its features."""
    rows = await asyncio.to_thread(Table.read, data)
    minted = Island.mint(rows)
    await client.add_island(minted)
    print_json({"id": minted.id}) if as_json else click.echo(f"Minted {minted.id}")


@click.group()
def token() -> None:
    """Access tokens of the node."""


@token.command("create")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    default=("read",),
    show_default=True,
    help="What it may do; more than one may be given. admin is everything.",
)
@click.option("--days", default=90, show_default=True, help="Lifetime; 0 never expires.")
@json_option
@connected
async def create_token(client: AsyncClient, name: str, scopes: Any, days: int, as_json: bool) -> None:
    """Make a token; its secret is shown this once."""
    made = await client.create_token(name, tuple(scopes), days or None)
    print_json(made) if as_json else click.echo(made.secret)


@token.command("list")
@json_option
@connected
async def list_tokens(client: AsyncClient, as_json: bool) -> None:
    """List tokens, without their secrets."""
    found = await client.tokens()
    if as_json:
        print_json(found)
    else:
        print_table("Tokens", ["id", "name", "scopes"], [(short(each.id), each.name, each.scopes) for each in found])


@token.command("revoke")
@click.argument("token_id")
@connected
async def revoke_token(client: AsyncClient, token_id: str) -> None:
    """Revoke a token by its id."""
    await client.revoke_token(token_id)
    click.echo("Revoked.")
