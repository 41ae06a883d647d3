"""``learnware list|show|pause|resume|withdraw|rm``; ``pack``, ``edit``, ``new`` are in ``packing``."""

from __future__ import annotations

from pathlib import Path

import click
from atoll.node.cli.connection import connected
from atoll.node.cli.output import console, json_option, print_json, print_table, short
from atoll.node.cli.packing import edit, new, pack
from atoll.node.cli.referring import federation_of, learnware_of
from atoll.node.client import AsyncClient
from atoll.protocol.listings import State

File = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def learnware() -> None:
    """Pack, add and publish learnwares."""


for command in (pack, edit, new):
    learnware.add_command(command)


@learnware.command("list")
@click.option("--own", is_flag=True, help="Only the learnwares of this node.")
@json_option
@connected
async def list_(client: AsyncClient, own: bool, as_json: bool) -> None:
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
async def show(client: AsyncClient, learnware_id: str, as_json: bool) -> None:
    """Show one learnware."""
    found = await client.learnware(await learnware_of(client, learnware_id))
    if as_json:
        print_json(found)
    else:
        console.print_json(data=found)


@learnware.command()
@click.argument("learnware_id")
@connected
async def rm(client: AsyncClient, learnware_id: str) -> None:
    """Withdraw a learnware from its federations and remove it from the dock."""
    await client.remove_learnware(await learnware_of(client, learnware_id))
    click.echo("Withdrawn and removed.")


@learnware.command()
@click.argument("learnware_id")
@click.argument("federation")
@connected
async def pause(client: AsyncClient, learnware_id: str, federation: str) -> None:
    """Keep a learnware listed, and let nobody do anything with it until `resume`."""
    await _set(client, learnware_id, federation, "paused")
    click.echo("Paused.")


@learnware.command()
@click.argument("learnware_id")
@click.argument("federation")
@connected
async def resume(client: AsyncClient, learnware_id: str, federation: str) -> None:
    """End a pause: what its policy allows is allowed again."""
    await _set(client, learnware_id, federation, "live")
    click.echo("Live again.")


@learnware.command()
@click.argument("learnware_id")
@click.argument("federation")
@connected
async def withdraw(client: AsyncClient, learnware_id: str, federation: str) -> None:
    """Take a learnware out of one federation; it stays in the dock, and what was downloaded is not recalled."""
    await client.withdraw(await learnware_of(client, learnware_id), await federation_of(client, federation))
    click.echo("Withdrawn.")


async def _set(client: AsyncClient, learnware_id: str, federation: str, state: State) -> None:
    await client.set_state(await learnware_of(client, learnware_id), await federation_of(client, federation), state)
