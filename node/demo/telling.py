"""How the demo tells its story: with tables on a terminal, or not at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from atoll.node.cli.found import show
from atoll.node.cli.output import console, print_json, print_table
from atoll.node.demo.report import Report, ReuseReport
from atoll.node.search.query import SearchResult


class Quiet:
    """Says nothing but the report at the end: for ``--json``."""

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        yield

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None: ...

    def search(self, user: str, result: SearchResult) -> None: ...

    def reuse(self, report: ReuseReport) -> None: ...

    def say(self, text: str) -> None: ...

    def finish(self, report: Report) -> None:
        print_json(report)

    def aside(self, text: str) -> None:
        """What must be told also beside a JSON answer."""
        print(text, file=sys.stderr, flush=True)


class Storyteller(Quiet):
    """Tells each step as it happens."""

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        with console.status(text):
            yield
        console.print(f"[green]✓[/green] {text}")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        print_table(title, columns, rows)

    def search(self, user: str, result: SearchResult) -> None:
        console.print(f"\n[bold]{user[0].upper()}{user[1:]}[/bold] asks North University's node:")
        show(result, {hit.owner: hit.owner_name for hit in result.hits}, ids=False)

    def reuse(self, report: ReuseReport) -> None:
        accuracy = report.accuracy
        print_table(
            "Accuracy on rows nobody trained on",
            ["with", "# accuracy"],
            [
                ("the mixture", accuracy.mixture),
                ("the best single learnware", accuracy.best_single),
                ("the mean learnware", accuracy.mean_single),
            ],
        )
        console.print(
            f"{report.rows_local} (row, model) pairs ran here with downloaded models, "
            f"{report.rows_remote} at their owners."
        )

    def say(self, text: str) -> None:
        console.print(text)

    def finish(self, report: Report) -> None:
        """The tables have said it all."""

    def aside(self, text: str) -> None:
        print(text, flush=True)
