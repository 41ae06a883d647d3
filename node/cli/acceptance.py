"""``learnware add|check|submissions``: a package on its way into the dock, and what its checks say."""

from __future__ import annotations

import asyncio
import csv
import tempfile
from contextlib import closing
from pathlib import Path

import click
import platformdirs
from atoll.engine.packages.acceptance import AcceptanceReport
from atoll.engine.tables import Table
from atoll.node.acceptance.submissions import LabelledRows
from atoll.node.api.submissions import SubmissionView
from atoll.node.cli.connection import connected
from atoll.node.cli.learnware import File
from atoll.node.cli.output import console, json_option, print_json, print_table, when
from atoll.node.cli.progress import progress_bars
from atoll.node.cli.referring import federation_of
from atoll.node.client import AsyncClient
from atoll.node.errors import PackageRefused
from atoll.protocol.listings import Offers

labelled_option = click.option(
    "--labelled", type=File, help="Rows with the truth in a column --target: the quality measured on them is listed."
)
target_option = click.option("--target", default="target", show_default=True, help="The column with the truth.")
MARKS = {"passed": "[green]ok[/green]", "advisory": "[yellow]look[/yellow]", "failed": "[red]no[/red]"}


@click.command()
@click.argument("package", type=File)
@click.option("--federation", help="List it there at once, to be matched by members and nothing else.")
@labelled_option
@target_option
@json_option
@connected
async def add(
    client: AsyncClient, package: Path, federation: str | None, labelled: Path | None, target: str, as_json: bool
) -> None:
    """Upload a PACKAGE to the node, wait for its checks, and have it in the dock.

    An upload that broke off goes on where it stood.
    """
    federation = await federation_of(client, federation) if federation else None  # before the work, not after it
    decided = await checked(client, package, await asyncio.to_thread(_sample, labelled, target))
    if decided.report is not None and not as_json:
        show(decided.report)
    if decided.state == "refused":
        raise PackageRefused(decided.report.words if decided.report else "refused")
    if federation:
        await client.publish(decided.learnware_id, federation, Offers())
    if as_json:
        print_json(decided)
    else:
        click.echo(f"In the dock as {decided.learnware_id}")


@click.command()
@click.argument("package", type=File)
@labelled_option
@target_option
@json_option
@connected
async def check(client: AsyncClient, package: Path, labelled: Path | None, target: str, as_json: bool) -> None:
    """Check a PACKAGE on this machine as its node would, without uploading it; the model runs in the sandbox."""
    from atoll.engine.runtime import ModelPool
    from atoll.engine.runtime.environments import Environments
    from atoll.engine.runtime.unpacked import Unpacked
    from atoll.node.acceptance.judge import judge

    islands = {island.id: island for island in await client.islands()}
    owner = (await client.node()).peer_id
    sample = await asyncio.to_thread(_sample, labelled, target)
    environments = Environments(platformdirs.user_cache_path("atoll") / "environments")
    with (
        tempfile.TemporaryDirectory(prefix="atoll-check-") as folder,
        closing(ModelPool(1, environments=environments, unpacked=Unpacked(Path(folder)))) as models,
    ):
        report = await asyncio.to_thread(judge, package, islands, models, owner=owner, labelled=sample)
    print_json(report) if as_json else show(report)
    if not report.accepted:
        raise PackageRefused(report.words)


@click.command()
@json_option
@connected
async def submissions(client: AsyncClient, as_json: bool) -> None:
    """List the packages that were uploaded to the node, the newest first, and what became of them."""
    found = await client.submissions()
    if as_json:
        print_json(found)
        return
    rows = [(each.id, when(each.submitted_at), each.state, each.report.words if each.report else "") for each in found]
    print_table("Submissions", ["id", "submitted", "state", "in words"], rows)


async def checked(client: AsyncClient, package: Path, sample: LabelledRows | None) -> SubmissionView:
    """Upload a package, with a bar, and wait for what its checks come to."""
    with progress_bars() as tell:
        decided = await client.submit(package, sample, lambda done, all_: tell("uploading", done, all_))
    while decided.state in ("waiting", "running"):
        decided = await client.submission(decided.id, wait=30.0)
    return decided


def show(report: AcceptanceReport) -> None:
    """Step by step."""
    for step in report.steps:
        console.print(f"{MARKS[step.outcome]:>4}  {step.name}: {step.words}", highlight=False)


def _sample(path: Path | None, target: str) -> LabelledRows | None:
    """Labelled rows of a CSV file, whose truth may be words."""
    if path is None:
        return None
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        names = list(reader.fieldnames or ())
        if target not in names:
            shown = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
            raise click.BadParameter(f"{path} has no column {target!r}, it has {shown}", param_hint="--target")
        lines = list(reader)
    truth = tuple(line[target] for line in lines)
    table = Table.of({name: [_number(line[name], name) for line in lines] for name in names if name != target})
    return LabelledRows(table.columns, tuple(map(tuple, table.values.tolist())), truth)


def _number(text: str | None, column: str) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        raise click.BadParameter(f"{text!r} in column {column!r} is no number", param_hint="--labelled") from None
