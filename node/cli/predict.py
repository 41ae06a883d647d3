"""``predict``: rows with the mixture that a search found."""

from __future__ import annotations

import asyncio
import csv
import sys
from pathlib import Path
from typing import Any

import click
from atoll.engine.tables import Table
from atoll.node.cli.connection import connected
from atoll.node.cli.output import json_option, print_json
from atoll.node.client import AsyncClient

File = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.option("--data", type=File, required=True, help="Rows to predict (CSV with header, or .npy).")
@click.option("--search-id", help="A search of this node; without it the rows are searched for first.")
@click.option("--prefer", type=click.Choice(["local", "remote"]), default="local", show_default=True)
@click.option("--force", is_flag=True, help="Predict even where no learnware covers the data.")
@json_option
@connected
async def predict(
    client: AsyncClient, data: Path, search_id: str | None, prefer: Any, force: bool, as_json: bool
) -> None:
    """Predict rows with the mixture that a search found. This sends rows to the owners that predict."""
    rows = await asyncio.to_thread(Table.read, data)
    click.echo(f"To the node at {client.url}: {len(rows.values)} rows; it sends some to owners who predict.", err=True)
    if search_id is None:
        search_id = (await client.search_rows(rows)).search_id
    result = await client.predict(search_id, rows, prefer=prefer, force=force)
    if as_json:
        print_json(result)
        return
    writer = csv.writer(sys.stdout)
    writer.writerow(["label", *result.class_names] if result.labels else ["value"])
    labels = result.labels or [None] * len(result.values)
    for label, values in zip(labels, result.values, strict=True):
        shown = [f"{value:.4f}" for value in values]
        writer.writerow([label, *shown] if label is not None else shown)
