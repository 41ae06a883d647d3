"""Judging one package: the checks of the engine, on the islands and the dock of this node, with the model in the
sandbox. The same code is behind the queue and behind `atoll learnware check`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from atoll.engine.errors import AtollError
from atoll.engine.islands import Island
from atoll.engine.packages import open_package
from atoll.engine.packages.acceptance import AcceptanceReport, Step, check, refused
from atoll.engine.packages.duplicates import Known
from atoll.engine.runtime import ModelPool
from atoll.engine.specs.rows import Progress
from atoll.engine.tables import Table
from atoll.node.acceptance.submissions import LabelledRows
from atoll.node.errors import RequestInvalid


def judge(
    path: Path, islands: Mapping[str, Island], models: ModelPool, *, owner: str, known: Sequence[Known] = (),
    labelled: LabelledRows | None = None, progress: Progress = lambda stage, done, total: None,
    told: Callable[[Step], None] = lambda step: None,
) -> AcceptanceReport:  # fmt: skip
    """Check the package at ``path``; whatever is wrong with it is in the report. ``owner`` is for whom it must be made,
    ``told`` hears of each step as it is done.

    What is no package of this owner's is refused before its model is run.
    """
    with ExitStack() as stack:
        try:
            package = stack.enter_context(open_package(path))
            if package.manifest.owner != owner:
                raise RequestInvalid(
                    "the package was made for another owner", hint="pack it with this node's peer id as owner"
                )
            models.limits.require_file(package.manifest.file(package.manifest.model).size)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="atoll-judge-")))
            with (folder / "model").open("wb") as file:
                file.writelines(package.pieces(package.manifest.model))
            needs = package.needs
        except AtollError as error:
            return refused(error)
        key = package.manifest.file(package.manifest.model).sha256
        run = partial(models.predict, key, folder / "model", package.manifest.signature, trust="own", needs=needs)
        sample = None
        if labelled is not None:
            sample = (Table(np.array(labelled.rows, np.float64), labelled.columns), labelled.truth)
        return check(
            package, islands, run, progress, clock=lambda: int(1000 * time.monotonic()), known=known, labelled=sample,
            prepare=partial(models.environment, needs), told=told,
        )  # fmt: skip
