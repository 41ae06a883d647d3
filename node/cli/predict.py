"""``predict``: from a user's rows to predictions with other people's models, and a report of what they are worth."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import click
import msgspec
from atoll.engine.errors import FeatureMismatch
from atoll.engine.semantic import SemanticQuery
from atoll.node.cli import found, planned, predictions, reusing
from atoll.node.cli.asking import File, note, units_of
from atoll.node.cli.connection import connected
from atoll.node.cli.output import clean, json_option, print_json
from atoll.node.cli.progress import progress_bars
from atoll.node.cli.task import Task, leaving, read_task
from atoll.node.cli.typed import command_line
from atoll.node.client import AsyncClient, RemoteError
from atoll.node.clock import now_ms
from atoll.node.errors import Partial
from atoll.node.reuse.query import MAX_MEMBERS, Form, Method, Place, ReusePlan
from atoll.node.reuse.report import Asked, page
from atoll.node.reuse.result import ReuseReport
from atoll.node.reuse.written import labels_of
from atoll.node.search.fitting import fit_rows
from atoll.node.search.query import Privacy, SearchPlan, SearchResult
from atoll.node.store.durable import replacing

Target = click.Path(path_type=Path, dir_okay=False)
LIST = "`atoll island list` shows what there is"


class Predicted(msgspec.Struct, frozen=True):
    """What ``--json`` prints: ``labels`` and ``values`` are empty where they went to ``output``."""

    report: ReuseReport
    page: str
    output: str | None
    labels: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]


@click.command()
@click.argument("data", type=File)
@click.option("--target", help="The column to predict: the truth in --labelled; in DATA it is left out.")
@click.option("--labelled", type=File, help="Rows with their truth: they choose the method and measure what it errs.")
@click.option("--search-id", help="Of a search of this node; without it the rows are searched for first.")
@click.option(
    "--method",
    type=click.Choice(["auto", *get_args(Method)]),
    default="auto",
    show_default=True,
    help="How the models' outputs become one. auto: by validation, without labelled rows soft routing.",
)
@click.option(
    "--form",
    type=click.Choice(["auto", *get_args(Form)]),
    default="auto",
    show_default=True,
    help="What rows are routed by: reduced sets, or sketches.",
)
@click.option(
    "--prefer",
    type=click.Choice(get_args(Place)),
    default="local",
    show_default=True,
    help="Where a model runs that may run at both places: at the node, or at its owner.",
)
@click.option("--members", type=click.IntRange(1, MAX_MEMBERS), default=10, show_default=True, help="Models, at most.")
@click.option("--abstain", is_flag=True, help="No answer for rows that no model covers.")
@click.option("--unit", multiple=True, metavar="COLUMN=UNIT", help="In what a column is measured, weight=kg say.")
@click.option("--impute", is_flag=True, help="Put column means of DATA where cells are empty or infinite.")
@click.option(
    "--privacy",
    type=click.Choice(get_args(Privacy)),
    help="What the node sends to owners while it searches: nothing, a sketch, or the reduced set.  [default: rkme]",
)
@click.option("--force", is_flag=True, help="Predict even where no learnware covers the data.")
@click.option("--yes", is_flag=True, help="Let rows leave the node as the plan says, without a question.")
@click.option("--no-send", is_flag=True, help="Only what runs at the node: no row leaves it.")
@click.option("-o", "--output", type=Target, help="Write the predictions there (CSV).  [default: standard output]")
@click.option(
    "--report",
    "page_path",
    type=Target,
    help="Write the report there (HTML).  [default: DATA's name with .report.html, in this folder]",
)
@json_option
@connected
async def predict(
    client: AsyncClient, data: Path, target: str | None, labelled: Path | None, search_id: str | None,
    unit: tuple[str, ...], impute: bool, privacy: Privacy | None, yes: bool, no_send: bool, output: Path | None,
    page_path: Path | None, as_json: bool, **how: Any,
) -> None:  # fmt: skip
    """Predict the rows of DATA with other people's models.

    Searches, shows a plan (which models, with what weight, where they run, what leaves the node and to whom), asks
    where rows would leave the node, predicts, and writes predictions and a report. DATA is a CSV with a header,
    .parquet, .arrow or .npy. Predictions: the label or value of each row, then the probabilities, in the order of DATA.
    Ctrl-C ends it at the node too. Exit code 14: an owner failed, and the others have answered without it.
    """  # fmt: skip
    if yes and no_send:
        raise click.UsageError("--yes and --no-send contradict each other")
    if search_id and privacy:
        raise click.UsageError("--privacy is of the search that --search-id names: it is over")
    page_path = page_path or Path(f"{data.stem}.report.html")
    _check_folders(output, page_path)
    units = units_of(unit)
    task = await asyncio.to_thread(read_task, data, target, labelled, impute=impute)
    for line in (*task.notes, leaving(client.url, task, data, target)):
        _tell(line)
    answer = None if search_id else await _search(client, task, data, units, privacy or "rkme", target)
    how |= {"units": units, "local_only": no_send}
    plan = await _plan(client, task, search_id or (answer.search_id if answer else ""), answer, how)
    with _ending():
        async with client.forgetting(plan.reuse_id):
            planned.show(plan)
            planned.agree(plan, yes=yes)
            await client.start_reuse(plan.reuse_id, send=plan.sends_rows)
            report = await reusing.follow(client.reuse_events(plan.reuse_id), plan)
            values = await client.predictions(plan.reuse_id)
            asked = Asked(
                data.name,
                labelled.name if labelled else "",
                target or "",
                client.url,
                command_line(client.url),
                now_ms(),
            )
            await asyncio.to_thread(_write, report, values, output, page_path, asked)
    reusing.conclude(report)
    _tell(f"Report: {page_path}")
    labels = labels_of(values, report.class_names)
    if as_json:
        rows = () if output else tuple(tuple(None if cell != cell else cell for cell in row) for row in values.tolist())
        print_json(Predicted(report, str(page_path), str(output) if output else None, () if output else labels, rows))
    elif output is None:
        predictions.show(values, report.class_names)
    lost = dict.fromkeys(member.owner_name for member in report.members if member.failed)
    if lost:
        raise Partial(f"predicted without {', '.join(lost)}: the report says what that costs")


@contextmanager
def _ending() -> Iterator[None]:
    """Ctrl-C, or a no to the plan, has ended the session at the node as well."""
    try:
        yield
    except (asyncio.CancelledError, click.Abort):
        _tell("ended; the node has forgotten the rows, or does so within an hour if it could not be told")
        raise


async def _search(
    client: AsyncClient, task: Task, data: Path, units: dict[str, str], privacy: Privacy, target: str | None
) -> SearchResult:
    islands = await client.islands()
    with progress_bars() as tell:
        try:
            fitted = await asyncio.to_thread(fit_rows, task.rows, islands, units=units, progress=tell)
        except FeatureMismatch as error:
            hint = (
                error.hint if target else f"leave out what is no feature, what is to be predicted by --target; {LIST}"
            )
            raise FeatureMismatch(f"{data}: {error.message}", hint=hint) from None
    note([island for island, _ in fitted], str(data), task.rows.columns, units)

    def told(plan: SearchPlan) -> None:
        _tell(f"Search: {plan.leaves}")

    answer = await found.follow(client.search_events(fitted, SemanticQuery(), privacy=privacy), told, live=False)
    if answer.peers_failed:
        _tell(f"note: {found.failures(answer, await found.names_of(client, answer))}")
    return answer


async def _plan(
    client: AsyncClient, task: Task, search_id: str, answer: SearchResult | None, how: dict[str, Any]
) -> ReusePlan:
    with progress_bars() as tell:
        try:
            view = await client.plan_reuse(
                search_id, task.rows, labelled=task.labelled, **how,
                progress=lambda done, all_: tell("uploading", done, all_),
            )  # fmt: skip
        except RemoteError as error:
            if error.code == "policy.denied":
                error.hint = _whom_to_ask(answer) or error.hint
            raise
    return view.plan


def _whom_to_ask(answer: SearchResult | None) -> str:
    """Of the nearest learnware whose owner gives on request."""
    for hit in answer.hits if answer else ():
        for act in ("predict", "download"):
            if getattr(hit.offers, act) == "ask":
                return clean(f'ask its owner: `atoll learnware ask {hit.learnware_id} --for {act} --words "..."`')
    return ""


def _write(report: ReuseReport, values: Any, output: Path | None, page_path: Path, asked: Asked) -> None:
    if output is not None:
        predictions.write(output, values, report.class_names)
    with replacing(page_path, predictions.PUBLIC) as file:
        file.write(page(report, asked).encode())


def _check_folders(*paths: Path | None) -> None:
    """Before the work, not after it."""
    for path in paths:
        if path is not None and not path.parent.is_dir():
            raise click.UsageError(f"{path}: there is no folder {path.parent}")


def _tell(text: str) -> None:
    click.echo(clean(text), err=True)
