"""``search`` and ``predict``."""

from __future__ import annotations

import asyncio
import csv
import sys
from pathlib import Path
from typing import Any, Literal

import click
from atoll.engine.semantic import SemanticQuery
from atoll.engine.tables import Table
from atoll.node.cli.connection import connected
from atoll.node.cli.output import console, json_option, print_json, print_table, short
from atoll.node.client import AsyncClient
from atoll.node.errors import Partial
from atoll.node.search.query import Hit, SearchResult

File = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("text", default="")
@click.option("--data", type=File, help="Unlabelled rows (CSV with header, or .npy); only their RKME is sent.")
@click.option("--task", multiple=True, help="Classification, Regression, ...; may be repeated.")
@click.option("--scenario", multiple=True)
@click.option("--limit", default=10, show_default=True)
@click.option("--deadline-ms", type=int, help="How long peers may take.  [default: the node's]")
@click.option("--local", is_flag=True, help="Ask nobody: rank by the gossiped sketches only.")
@json_option
@connected
async def search(
    client: AsyncClient, text: str, data: Path | None, task: tuple[str, ...], scenario: tuple[str, ...], limit: int,
    deadline_ms: int | None, local: bool, as_json: bool,
) -> None:  # fmt: skip
    """Search the network, by words (TEXT), by data, or both."""
    semantic = SemanticQuery(text=text, task=task, scenario=scenario)
    privacy: Literal["local", "rkme"] = "local" if local else "rkme"
    options: dict[str, Any] = {"limit": limit, "deadline_ms": deadline_ms, "privacy": privacy}
    if data is None:
        result = await client.search([], semantic, **options)
    else:
        rows = await asyncio.to_thread(Table.read, data)
        result = await client.search_rows(rows, semantic, **options)
    if as_json:
        print_json(result)
    else:
        show(result)
    if not result.complete:
        raise Partial(
            f"{len(result.peers_failed)} of {len(result.peers_asked)} owners did not answer: "
            + ", ".join(map(short, result.peers_failed))
        )


def show(result: SearchResult) -> None:
    """The answer as a person reads it."""
    rows = [
        (hit.name, hit.owner_name or short(hit.owner), hit.similarity, hit.mmd2, _known(hit)) for hit in result.hits
    ]
    print_table("Hits", ["name", "owner", "# similarity", "# MMD²", "distance"], rows)
    if result.mixture and result.mixture.members:
        print_table(
            f"Mixture (uncovered {result.mixture.uncovered:.1%}, MMD² {result.mixture.mmd2:.4f})",
            ["name", "owner", "# weight"],
            [(member.name, short(member.owner), member.weight) for member in result.mixture.members],
        )
    if result.advice:
        console.print(result.advice)
    answered = f"{len(result.peers_answered)} of {len(result.peers_asked)} owners answered"
    order = "are certain" if result.topk_exact else "may differ from this where distances are close"
    console.print(f"{answered} in {result.elapsed_ms} ms; the hits and their order {order}.")
    console.print(f"Search id {result.search_id}")


def _known(hit: Hit) -> str:
    """How its distance is known."""
    if hit.estimated:
        return "sketch"
    return f"± {hit.band:g}" if hit.band else "exact"


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
