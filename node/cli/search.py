"""``search``: find learnwares by words, by filters and by data."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import click
from atoll.node.cli import found, saved
from atoll.node.cli.asking import Question, Source, asking, leaving
from atoll.node.cli.connection import connected
from atoll.node.cli.output import clean, console, json_option, print_json
from atoll.node.client import AsyncClient
from atoll.node.client.proof import proofs, unproven
from atoll.node.errors import Partial
from atoll.node.search.fitting import elsewhere
from atoll.node.search.query import SearchPlan


@click.command()
@asking
@click.option("--save", type=click.Path(path_type=Path, dir_okay=False), help="Write the whole answer to a file.")
@click.option("--verify", is_flag=True, help="Check every hit against what its owner has signed; exit code 18.")
@json_option
@connected
async def search(
    client: AsyncClient, question: Question, source: Source, save: Path | None, verify: bool, as_json: bool
) -> None:
    """Search the network by words (TEXT), filters, data, or all of it.

    Rows are fitted on this machine, and what leaves it is told on standard error before it does. Filters that may be
    repeated are alternatives. Exit code 14: some owners did not answer. A saved answer is verified by `atoll verify`.
    """
    tell = partial(click.echo, err=True)
    question, fitted = await question.meant(client), await source.fitted(client)
    tell(clean(leaving(client.url, question, source, fitted)))

    def planned(plan: SearchPlan) -> None:
        tell(clean(f"From there: {plan.leaves}"))

    events = client.search_events(
        fitted, question.semantic, limit=question.limit, deadline_ms=question.deadline_ms, privacy=question.privacy,
        filters=question.filters,
    )  # fmt: skip
    answer = await found.follow(events, planned, live=console.is_terminal and not as_json)
    if save is not None:
        await asyncio.to_thread(saved.write, answer, save)
    names = await found.names_of(client, answer)
    print_json(answer) if as_json else found.show(answer, names)
    if verify:
        searched = [island for island in await client.islands() if island.id in answer.islands]
        found.judge(proofs(answer, [*fitted, *elsewhere(fitted, searched)]), unproven(answer), tell)
    if not answer.complete:
        raise Partial(found.failures(answer, names))
