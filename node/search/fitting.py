"""Fitting rows into islands, and moving a specification from one island to others: what a search by data begins with.

On the user's side, or at a node for its own user. Never touches the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from atoll.engine import specs
from atoll.engine.errors import DimensionMismatch, FeatureMismatch, IslandError, NotFinite
from atoll.engine.island_file import read_island
from atoll.engine.islands import Island
from atoll.engine.specs import formats
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.rows import Progress
from atoll.engine.tables import Table
from numpy.typing import NDArray

MOST_ISLANDS = 8  # of one search
BESIDE = ".island.json"  # instead of the suffix of a specification: the definition of its island


class Fitted(NamedTuple):
    """A reduced set in the units of its island."""

    island: Island
    rkme: Rkme


def fit_rows(
    rows: Table | Path, islands: Sequence[Island], *, impute: bool = False,
    progress: Progress = lambda stage, done, total: None,
) -> list[Fitted]:  # fmt: skip
    """The rows' RKME in every island that has their features, in whatever order; each island has its own units.

    ``islands`` come in the order of preference, of those that fit the first 8 are taken. A file is read in pieces and
    may be larger than the memory. ``impute`` puts column means where values are missing. FeatureMismatch says how the
    rows differ from the island that is most like them, if there is none that fits; NotFinite names columns.
    """
    sample = rows if isinstance(rows, Table) else next(Table.chunks(rows, 1))
    chosen = [island for island in islands if island.accepts(sample)][:MOST_ISLANDS]
    if not chosen:
        raise _no_island(sample, islands)
    return [Fitted(island, _fitted(rows, island, impute, progress)) for island in chosen]


def move(fitted: Fitted, islands: Sequence[Island]) -> list[Fitted]:
    """The specification in those of ``islands`` that have its features, its own first, at most 8.

    Into others its points go by way of raw units. FeatureMismatch if there is none.
    """
    source = fitted.island
    if source.kind != "table":
        if source.id not in {island.id for island in islands}:
            raise FeatureMismatch(f"this node knows no learnware of these {source.kind}s' island, {source.id[:16]}")
        return [fitted]
    raw = Table(source.restore(fitted.rkme.points), source.names)
    chosen = [island for island in islands if island.accepts(raw)]
    if not chosen:
        raise _no_island(raw, islands)
    chosen.sort(key=lambda island: island.id != source.id)
    return [fitted if island.id == source.id else _moved(fitted.rkme, raw, island) for island in chosen[:MOST_ISLANDS]]


def read_specification(path: Path, island: Island | str | None, known: Sequence[Island]) -> list[Fitted]:
    """A specification's file, in those islands of ``known`` that have its features.

    It is of ``island``, or of the known one whose id begins so; without it, of the one that is defined beside the file
    (``atoll spec fit --new-island`` does that), else of the only known one that it can be of.
    """
    rkme = formats.read(path).rkme
    beside = path.with_suffix(BESIDE)
    if island is None and beside.exists():
        island = read_island(beside)
    home = island if isinstance(island, Island) else island_of(rkme, known, island or "")
    if not rkme.comparable(home):
        raise DimensionMismatch(f"{path}: {_words(rkme)} is not of island {home.id[:16]}")
    return move(Fitted(home, rkme), known)


def island_of(rkme: Rkme, known: Iterable[Island], begins: str = "") -> Island:
    """The one island that a specification can be of, by dimension and kernel, whose id ``begins`` so; IslandError if
    there is none, or more than one: numbers alone do not say what they mean."""
    fitting = [island for island in known if rkme.comparable(island) and island.id.startswith(begins)]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        named = f" whose id begins with {begins!r}" if begins else ""
        raise IslandError(f"{_words(rkme)} is of no island that this node knows{named}", hint="see `atoll island list`")
    ids = ", ".join(island.id[:16] for island in fitting[:MOST_ISLANDS])
    raise IslandError(f"{_words(rkme)} can be of {len(fitting)} islands: {ids}", hint="say of which: --island")


def _words(rkme: Rkme) -> str:
    return f"a specification of {rkme.dimension} dimensions, gamma {rkme.gamma:g},"


def _moved(rkme: Rkme, raw: Table, island: Island) -> Fitted:
    return Fitted(island, Rkme(island.transform(raw), rkme.weights, island.gamma, rkme.count))


def _fitted(rows: Table | Path, island: Island, impute: bool, progress: Progress) -> Rkme:
    def units() -> Iterator[NDArray[np.float32]]:
        for chunk in [rows] if isinstance(rows, Table) else Table.chunks(rows):
            yield island.transform(chunk)

    method = "mean" if impute else None
    try:
        return specs.fit_rkme(units, gamma=island.gamma, impute=method, progress=progress)
    except NotFinite:
        raise _not_finite(units(), island, impute) from None


def _not_finite(units: Iterable[NDArray[np.float32]], island: Island, impute: bool) -> NotFinite:
    bad, cells, rows = np.zeros(island.dimension, np.int64), 0, 0
    for block in units:
        wrong = ~np.isfinite(block)
        bad, cells, rows = bad + wrong.sum(axis=0), cells + int(wrong.sum()), rows + len(block)
    worst = [island.names[place] for place in np.flatnonzero(bad == rows if impute else bad)]
    names = ", ".join(worst[:8]) + (" ..." if len(worst) > 8 else "")
    if impute:
        return NotFinite(f"no row has a finite value in columns {names}", hint="leave such columns out")
    return NotFinite(
        f"{cells} cells are empty, NaN or infinite, in columns {names}",
        hint="clean them, or let column means take their place: --impute, in Python impute=True",
    )


def _no_island(sample: Table, islands: Iterable[Island]) -> FeatureMismatch:
    tables = [island for island in islands if island.kind == "table"]
    if not tables:
        return FeatureMismatch("this node knows no island of tables yet", hint="nobody has listed a learnware for them")
    width, columns = sample.values.shape[1], set(sample.columns)

    def difference(island: Island) -> int:
        return len(columns ^ set(island.names)) if columns else abs(width - island.dimension)

    nearest = min(tables, key=difference)  # the first, and so the most used, of equals
    return FeatureMismatch(
        f"none of the {len(tables)} islands of tables has the features of your rows; in the one most like them, "
        f"{nearest.id[:16]}, {sample.mismatch(nearest.names)}",
        hint="leave out what is no feature, labels say; `atoll island list` shows what there is",
    )
