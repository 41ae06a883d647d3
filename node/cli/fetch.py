"""``fetch``: packages of other institutions into a folder."""

from __future__ import annotations

from pathlib import Path

import click
from atoll.node.cli.connection import connected
from atoll.node.cli.output import clean, json_option, print_json
from atoll.node.cli.progress import progress_bars
from atoll.node.client import AsyncClient
from atoll.node.errors import Partial

STAGES = {"node": "to the node (MiB)", "here": "to this machine (MiB)"}


@click.command()
@click.argument("learnwares", nargs=-1, metavar="LEARNWARE...")
@click.option("--search-id", default="", help="All members of the mixture that a search of this node has found.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path(), show_default=True,
    help="The folder to write to.",
)  # fmt: skip
@json_option
@connected
async def fetch(client: AsyncClient, learnwares: tuple[str, ...], search_id: str, output: Path, as_json: bool) -> None:
    """Fetch packages whose owners offer download, through the node, and check them.

    What broke off goes on with the same command. Exit code 14: some could not be had.
    """
    if bool(learnwares) == bool(search_id):
        raise click.UsageError("name learnwares, or a search with --search-id")
    with progress_bars() as bars:

        def progress(learnware_id: str, where: str, done: int, size: int) -> None:
            bars(f"{learnware_id[:12]} {STAGES[where]}", done >> 20, size >> 20)

        fetched = await client.fetch(learnwares, search_id=search_id, folder=output, progress=progress)
    if as_json:
        print_json({"files": {id_: str(path) for id_, path in fetched.files.items()}, "failed": fetched.failed})
    else:
        for path in fetched.files.values():
            click.echo(str(path))
    if fetched.failed:
        raise Partial("; ".join(clean(f"{each.detail} [{each.code}]") for each in fetched.failed.values()))
