"""``learnware add|list|show|rm|policy``; ``pack``, ``edit``, ``new`` are in ``packing``, ``check`` in ``checking``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from atoll.node.cli.checking import check
from atoll.node.cli.connection import connected
from atoll.node.cli.output import console, json_option, print_json, print_table, short
from atoll.node.cli.packing import edit, new, pack
from atoll.node.client import Client
from atoll.protocol.listings import Offers

File = click.Path(path_type=Path, exists=True, dir_okay=False)
AUDIENCES = click.Choice(["nobody", "ask", "members", "anyone"])


@click.group()
def learnware() -> None:
    """Pack, add and publish learnwares."""


learnware.add_command(pack)
learnware.add_command(check)
learnware.add_command(edit)
learnware.add_command(new)


@learnware.command()
@click.argument("package", type=File)
@click.option("--federation", help="List it there at once, to be matched by members and nothing else.")
@json_option
@connected
async def add(client: Client, package: Path, federation: str | None, as_json: bool) -> None:
    """Add a PACKAGE to the node's dock."""
    added = await client.add_learnware(package.read_bytes())
    if federation:
        added = await client.publish(added.learnware_id, federation, Offers())
    if as_json:
        print_json(added)
    else:
        click.echo(f"{added.name} is in the dock as {added.learnware_id}")


@learnware.command("list")
@click.option("--own", is_flag=True, help="Only the learnwares of this node.")
@json_option
@connected
async def list_(client: Client, own: bool, as_json: bool) -> None:
    """List what the node knows: the catalogue, or with --own its dock."""
    if own:
        learnwares = await client.learnwares()
        if as_json:
            print_json(learnwares)
        else:
            rows = [(each.name, each.learnware_id, len(each.listed)) for each in learnwares]
            print_table("Dock", ["name", "id", "# federations"], rows)
        return
    listings = await client.catalogue()
    if as_json:
        print_json(listings)
        return
    table = [(each.name, each.owner_name or short(each.owner), each.task, each.learnware_id) for each in listings]
    print_table("Catalogue", ["name", "owner", "task", "id"], table)


@learnware.command()
@click.argument("learnware_id")
@json_option
@connected
async def show(client: Client, learnware_id: str, as_json: bool) -> None:
    """Show one learnware."""
    found = await client.learnware(learnware_id)
    if as_json:
        print_json(found)
    else:
        console.print_json(data=found)


@learnware.command()
@click.argument("learnware_id")
@connected
async def rm(client: Client, learnware_id: str) -> None:
    """Withdraw a learnware from its federations and remove it from the dock."""
    await client.remove_learnware(learnware_id)
    click.echo("Withdrawn and removed.")


@learnware.command()
@click.argument("learnware_id")
@click.option("--federation", required=True)
@click.option("--match", type=AUDIENCES, default="members", show_default=True)
@click.option("--disclose", type=AUDIENCES, default="nobody", show_default=True, help="Give out the full RKME.")
@click.option("--predict", type=AUDIENCES, default="nobody", show_default=True, help="Predict here, for others.")
@click.option("--download", type=AUDIENCES, default="nobody", show_default=True, help="Cannot be recalled.")
@click.option("--few-rows", is_flag=True, help="List it in an open federation although it stands on few rows.")
@json_option
@connected
async def policy(
    client: Client, learnware_id: str, federation: str, match: Any, disclose: Any, predict: Any, download: Any,
    few_rows: bool, as_json: bool,
) -> None:  # fmt: skip
    """List a learnware in a federation, saying who may do what with it."""
    listed = await client.publish(
        learnware_id, federation, Offers(match, disclose, predict, download), few_rows=few_rows
    )
    if as_json:
        print_json(listed)
    else:
        offers = listed.listed[federation]
        click.echo(
            f"{listed.name}: match {offers.match}, disclose {offers.disclose}, predict {offers.predict}, "
            f"download {offers.download}"
        )
