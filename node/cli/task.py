"""The user's rows, and labelled ones, as ``predict`` takes them: read and checked before anything is asked or sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from atoll.engine.errors import FeatureMismatch, NotFinite, TableError
from atoll.engine.filling import filled, means_of
from atoll.engine.naming import listed
from atoll.engine.tables import Table
from atoll.engine.targets import Targeted, chunks_without, columns_of, read_labelled
from atoll.node.reuse import words

ROUGH = 30  # labelled rows under which what is measured on them says little


@dataclass(frozen=True)
class Task:
    """``rows`` without the target; ``labelled`` has the same columns and the truth of each row, in words."""

    rows: Table
    labelled: Targeted | None
    notes: tuple[str, ...]


def read_task(data: Path, target: str | None, labelled: Path | None, *, impute: bool) -> Task:
    """Everything in memory. TableError, FeatureMismatch and NotFinite name file and columns; UsageError where
    ``target`` is not said."""
    if labelled is not None and target is None:
        raise click.UsageError(_which(data, labelled))
    rows, notes = _rows(data, target)
    with _naming(data, impute):
        means = means_of([rows]) if impute else None
        rows = filled(rows, means)
    few = None if labelled is None or target is None else _alike(read_labelled(labelled, target), rows, labelled, data)
    if few is not None:
        notes += _about(few, labelled)
        with _naming(labelled, impute):
            few = Targeted(filled(few.rows, means), few.target)
    return Task(rows, few, notes)


def leaving(url: str, task: Task, data: Path, target: str | None) -> str:
    """What this machine sends to the node."""
    few = (
        f", and {words.counted(len(task.labelled.target), 'labelled row')} with their {target}" if task.labelled else ""
    )
    return (
        f"To the node at {url}: the {words.counted(len(task.rows.values), 'row')} of {data}{few}. "
        "It shows what it would do, and starts nothing before you have seen that."
    )


def _rows(data: Path, target: str | None) -> tuple[Table, tuple[str, ...]]:
    dropped = target is not None and target in columns_of(data)
    rows = Table.together(chunks_without(data, target) if target is not None else Table.chunks(data))
    if not len(rows.values):
        raise TableError(f"{data}: there are no rows")
    notes = (f"note: the column {target} of {data} is left out: it is what is predicted",) if dropped else ()
    return rows, notes


def _which(data: Path, labelled: Path) -> str:
    known = set(columns_of(data))
    others = [name for name in columns_of(labelled) if name not in known]
    which = f"{labelled} has {others[0]}, which {data} has not: --target {others[0]}?" if len(others) == 1 else ""
    return f"--labelled needs --target, the column with the truth. {which}".strip()


def _alike(few: Targeted, rows: Table, labelled: Path, data: Path) -> Targeted:
    """With the columns of the rows, in their order; what is named in neither is taken by place."""
    if not rows.columns:
        if few.rows.values.shape[1] != rows.values.shape[1]:
            raise FeatureMismatch(
                f"{labelled} has {few.rows.values.shape[1]} columns beside the target where {data} has "
                f"{rows.values.shape[1]}"
            )
        return Targeted(Table(few.rows.values), few.target)
    missing = [name for name in rows.columns if name not in few.rows.columns]
    if missing:
        raise FeatureMismatch(
            f"{labelled} has other columns than {data}: {listed(missing)} missing",
            hint="both need the same columns, in any order; the labelled file has the target beside them",
        )
    return Targeted(Table(few.rows.select(rows.columns), rows.columns), few.target)


def _about(few: Targeted, labelled: Path | None) -> tuple[str, ...]:
    count = len(few.target)
    if count >= ROUGH:
        return ()
    return (f"note: {labelled} has {words.counted(count, 'labelled row')}: what is measured on so few is rough",)


@contextmanager
def _naming(path: Path | None, impute: bool) -> Iterator[None]:
    """NotFinite names the file, and what to type."""
    try:
        yield
    except NotFinite as error:
        hint = error.hint if impute else f"{error.hint}: --impute"
        raise NotFinite(f"{path}: {error.message}", hint=hint) from None
