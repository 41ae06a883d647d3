"""``learnware pack|list|show|rm``."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Any

import click
from atoll.engine.encoding import unpack_json
from atoll.engine.runtime.signature import Signature
from atoll.engine.semantic import SemanticSpec
from atoll.engine.tables import Table
from atoll.node.cli.connection import connected
from atoll.node.cli.output import console, json_option, print_json, print_table, short
from atoll.node.client import Client
from atoll.node.clock import now_ms

File = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def learnware() -> None:
    """Pack, add and publish learnwares."""


@learnware.command()
@click.argument("model", type=File)
@click.option("--data", type=File, required=True, help="The rows the model is good on (CSV with header, or .npy).")
@click.option("--semantic", type=File, required=True, help="JSON: name, description, task, scenario, ...")
@click.option("--class-name", "class_names", multiple=True, help="One per output of a classifier, in its order.")
@click.option("--outputs", default=1, show_default=True, help="Target values of a regressor.")
@click.option("--size", default=100, show_default=True, help="Points of the specification, at most.")
@click.option("--dp-epsilon", type=float, help="Publish a sketch under differential privacy in place of the points.")
@click.option("--dp-delta", default=1e-6, show_default=True)
@click.option("--dataset", help="The name that the ledger adds budgets up under.  [default: DATA's file name]")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The package to write.")
@json_option
@connected
async def pack(
    client: Client, model: Path, data: Path, semantic: Path, class_names: tuple[str, ...], outputs: int, size: int,
    dp_epsilon: float | None, dp_delta: float, dataset: str | None, output: Path, as_json: bool,
) -> None:  # fmt: skip
    """Pack an ONNX MODEL with a specification fitted to its data. The rows stay on this machine.

    With --dp-epsilon the specification is a noised sketch: the node enters the budget in its ledger and is told a hash
    of the rows. The promise is for the specification; the model is not made private by it, nor is an island that was
    minted from the same rows.
    """
    from atoll.engine.packages.pack import pack as make

    rows = await asyncio.to_thread(Table.read, data)
    island = await client.adopt_island(rows)
    owner = (await client.node()).peer_id
    words = unpack_json(semantic.read_bytes(), SemanticSpec, limit=1 << 20)
    task: Any = "classification" if class_names else "regression"
    signature = Signature(task, rows.values.shape[1], len(class_names) or outputs)
    budget = None
    if dp_epsilon is not None:
        units = await asyncio.to_thread(island.transform, rows)
        budget = await client.spend_privacy(dataset or data.name, units, island, dp_epsilon, dp_delta)
    package = await asyncio.to_thread(
        make, model.read_bytes(), rows, island, words, signature, owner=owner, created_at=now_ms(),
        salt=secrets.token_bytes(16), class_names=class_names, size=size, budget=budget,
    )  # fmt: skip
    output.write_bytes(package)
    if as_json:
        print_json({"package": str(output), "bytes": len(package), "island": island.id})
    else:
        click.echo(f"{output}: {len(package)} bytes, island {short(island.id)}. Next: `atoll learnware add {output}`")


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
