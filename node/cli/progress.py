"""Progress of long work: bars on a terminal, on standard error; nothing anywhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Told = Callable[[str, int, int], None]  # stage, done, total (0: not known)
WORDS = {
    "points": "placing points", "weights": "weighing points", "disclosure": "moving points off rows",
    "gate": "privacy gate",
}  # fmt: skip


@contextmanager
def progress_bars() -> Iterator[Told]:
    """One bar a stage, gone at the end; what is told may come from any thread."""
    errors = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, disable=not errors.is_terminal, transient=True) as bars:
        known = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in known:
                known[stage] = bars.add_task(WORDS.get(stage, stage), total=None)
            bars.update(known[stage], completed=done, total=total or None)

        yield tell
