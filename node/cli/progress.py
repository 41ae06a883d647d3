"""Progress of long work: bars on a terminal, on standard error; nothing anywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from atoll.engine.specs.rows import Progress
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

WORDS = {
    "points": "placing points", "weights": "weighing points", "disclosure": "moving points off rows",
    "gate": "privacy gate",
}  # fmt: skip


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """One bar a stage, gone at the end; what is told may come from any thread."""
    errors = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=errors, disable=not errors.is_terminal, transient=True) as bars:
        known = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in known:
                known[stage] = bars.add_task(WORDS.get(stage, stage), total=None)
            bars.update(known[stage], completed=done, total=total or None)

        yield tell
