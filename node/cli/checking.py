"""``learnware check``: what a dock would say of a package, on one's own machine."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from atoll.engine.errors import ModelError, TableError
from atoll.engine.islands import Island
from atoll.engine.packages.archive import Package, open_package
from atoll.engine.packages.duplicates import Known
from atoll.engine.runtime import ModelProcess
from atoll.engine.tables import Table
from atoll.node.cli.connection import connected
from atoll.node.cli.island_file import read_island
from atoll.node.cli.output import json_option, print_json, print_table
from atoll.node.client import Client
from atoll.node.errors import outcome

File = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("package", type=File)
@click.option("--island", "definitions", type=File, multiple=True, help="A file with an island's definition.")
@click.option("--labelled", type=File, help="Labelled rows (CSV) to measure quality on; see --label.")
@click.option("--label", default="label", show_default=True, help="The column of --labelled with the truth.")
@click.option("--against", type=File, multiple=True, help="Another package to compare with, for duplicates.")
@json_option
@connected
async def check(
    client: Client, package: Path, definitions: tuple[Path, ...], labelled: Path | None, label: str,
    against: tuple[Path, ...], as_json: bool,
) -> None:  # fmt: skip
    """Check PACKAGE as a dock does before it takes it; exit code 16 if it would be refused.

    The islands are those of the node, or of files, and then no node is asked. The model runs in the sandbox.
    """
    islands = [read_island(path) for path in definitions] if definitions else await client.islands()
    by_id = {island.id: island for island in islands}
    report = await asyncio.to_thread(_checked, package, by_id, labelled, label, against)
    if as_json:
        print_json(report)
    else:
        rows = [(step.name, step.outcome, step.words, step.milliseconds) for step in report.steps]
        print_table("Acceptance", ["step", "outcome", "words", "# ms"], rows)
        click.echo("accepted" if report.accepted else "refused")
    if not report.accepted:
        sys.exit(outcome(ModelError.code).exit_code)


def _checked(
    path: Path, islands: dict[str, Island], labelled: Path | None, label: str, against: tuple[Path, ...]
) -> Any:
    from atoll.engine.packages.acceptance import check as accept

    known = [_known(other) for other in against]
    with open_package(path) as package, _runner(package) as run:
        sample = _labelled(labelled, label, package.manifest.class_names) if labelled else None
        return accept(package, islands, run, clock=_milliseconds, known=known, labelled=sample)


@contextmanager
def _runner(package: Package) -> Iterator[Any]:
    """Calls of the model in a process that starts with the first of them: an error to start is a finding too."""
    manifest = package.manifest
    processes: list[ModelProcess] = []
    with tempfile.TemporaryDirectory(prefix="atoll-check-") as folder:
        path = Path(folder, "model")

        def run(rows: Any) -> Any:
            if not processes:
                path.write_bytes(package.read(manifest.model))
                processes.append(ModelProcess.start(path, manifest.signature))
            return processes[0].predict(rows)

        try:
            yield run
        finally:
            for process in processes:
                process.close()


def _known(path: Path) -> Known:
    with open_package(path) as other:
        manifest = other.manifest
        specifications = {island.hex(): each for island, (each, _) in other.specifications().items()}
        return Known(str(path), manifest.file(manifest.model).sha256, specifications)


def _labelled(path: Path, label: str, class_names: tuple[str, ...]) -> tuple[Table, list[object]]:
    """Rows and truth; class names that are words are numbers in the file, counted from 0."""
    table = Table.read(path)
    if label not in table.columns:
        raise TableError(f"{path} has no column {label!r}", hint="name it: --label")
    place = table.columns.index(label)
    kept = [other for other in range(len(table.columns)) if other != place]
    truth: list[object] = list(table.values[:, place])
    if class_names and not all(name.lstrip("-").isdecimal() for name in class_names):
        truth = [_name(value, class_names) for value in table.values[:, place]]
    return Table(table.values[:, kept], tuple(table.columns[other] for other in kept)), truth


def _name(value: float, class_names: tuple[str, ...]) -> object:
    inside = float(value).is_integer() and 0 <= value < len(class_names)
    return class_names[int(value)] if inside else value


def _milliseconds() -> int:
    return time.monotonic_ns() // 1_000_000
