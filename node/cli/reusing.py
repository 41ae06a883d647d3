"""A reuse under way: bars on a terminal, what fails as it fails, and the report at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import click
from atoll.node.cli.output import clean
from atoll.node.cli.progress import progress_bars
from atoll.node.reuse import words
from atoll.node.reuse.query import ReusePlan
from atoll.node.reuse.result import Chosen, Downloading, MemberFailed, Progress, ReuseReport, tied


async def follow(events: AsyncIterator[Any], plan: ReusePlan) -> ReuseReport:
    """The report with which ``events`` end; what happens on the way is told on standard error."""
    names = {member.learnware_id: member.name for member in plan.members}
    owners = {member.owner: member.owner_name for member in plan.members}
    report: ReuseReport | None = None
    with progress_bars() as tell:
        async for event in events:
            match event.data:
                case Downloading(learnware_id, done, size):
                    tell(clean(f"downloading {names.get(learnware_id, learnware_id)}"), done, size)
                case Progress(done, total):
                    tell("predicting", done, total)
                case MemberFailed() as failed:
                    who = owners.get(failed.owner) or failed.owner
                    name = names.get(failed.learnware_id, failed.learnware_id)
                    rows = words.counted(failed.rows_answered, "row")
                    click.echo(clean(f"{name} of {who} is left out after {rows}: {failed.why}"), err=True)
                case Chosen() as chosen:
                    click.echo(clean(_chosen(chosen)), err=True)
                case ReuseReport() as report:
                    pass
    assert report is not None  # the stream ends with one
    return report


def conclude(report: ReuseReport) -> None:
    """What the predictions are worth."""
    for line in (report.expected, *(f"warning: {warning}" for warning in report.warnings)):
        click.echo(clean(line), err=True)


def _chosen(chosen: Chosen) -> str:
    tried = [mean for mean, _ in chosen.validation.values()]
    among = f", the best of {len(tried)} on the labelled rows" if len(tried) > 1 else ""
    among = f"; all {len(tried)} do equally well on the labelled rows" if tied(tried) else among
    return f"Method: {words.method(chosen.method)}{among}."
