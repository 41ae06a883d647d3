"""Rows, or a ready specification, into the islands of a node: what a search by data begins with.

On the user's side, or at a node for its own user. Never touches the network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from atoll.engine import specs
from atoll.engine.errors import DimensionMismatch, FeatureMismatch, IslandError, NotFinite
from atoll.engine.island_file import read_island
from atoll.engine.islands import Island
from atoll.engine.specs import formats
from atoll.engine.specs.moving import moved, reachable
from atoll.engine.specs.noised import Specification
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.rows import Progress
from atoll.engine.tables import Table
from atoll.engine.units import convertible, in_units_of
from atoll.node.search.query import MAX_ISLANDS
from numpy.typing import NDArray

BESIDE = ".island.json"  # instead of the suffix of a specification: the definition of its island
NO_UNITS: Mapping[str, str] = MappingProxyType({})


class Fitted(NamedTuple):
    """What a search is told of the user's data in one island: a reduced set, or a sketch under differential privacy."""

    island: Island
    given: Specification


def compatible(rows: Table | Path, islands: Sequence[Island], units: Mapping[str, str] = NO_UNITS) -> list[Island]:
    """The first 8 of ``islands``, which come in the order of preference, that have the rows' features, in whatever
    order, where ``units`` (by column) can be converted. FeatureMismatch, if there is none, says how the rows differ
    from the island that is most like them."""
    sample = rows if isinstance(rows, Table) else next(Table.chunks(rows, 1))
    unknown = sorted(set(units) - set(sample.columns))
    if unknown:
        raise FeatureMismatch(f"units of columns that are not there: {', '.join(unknown[:8])}")
    alike = [island for island in islands if island.accepts(sample)]
    if not alike:
        raise _no_island(sample, islands)
    chosen = [island for island in alike if all(convertible(units.get(f.name, ""), f.unit) for f in island.features)]
    if not chosen:
        told = ", ".join(f"{f.name} in {f.unit}" for f in alike[0].features if f.name in units)
        raise FeatureMismatch(f"no island has these features in units that yours can be converted to, but {told}")
    return chosen[:MAX_ISLANDS]


def fit_rows(
    rows: Table | Path, islands: Sequence[Island], *, impute: bool = False, units: Mapping[str, str] = NO_UNITS,
    progress: Progress = lambda stage, done, total: None,
) -> list[Fitted]:  # fmt: skip
    """The rows' RKME in every ``compatible`` island. A file is read in pieces and may be larger than the memory.

    Columns are in ``units``, in those of the island where nothing is said. ``impute`` puts column means where values
    are missing; without it NotFinite names the columns.
    """
    return [Fitted(island, _rkme(rows, island, impute, units, progress)) for island in compatible(rows, islands, units)]


def digest_of(rows: Table | Path, island: Island, units: Mapping[str, str] = NO_UNITS) -> tuple[bytes, int]:
    """SHA-256 of the rows in island units, and their number: what a ledger knows them by."""
    digest, count = hashlib.sha256(), 0
    for block in island_units(rows, island, units):
        digest.update(np.ascontiguousarray(block, "<f4").tobytes())
        count += len(block)
    return digest.digest(), count


def island_units(
    rows: Table | Path, island: Island, units: Mapping[str, str] = NO_UNITS
) -> Iterator[NDArray[np.float32]]:
    """The rows, block by block, float32 (n, d) in the units of an island."""
    for chunk in [rows] if isinstance(rows, Table) else Table.chunks(rows):
        yield island.transform(in_units_of(island, chunk, units))


def disagreeing(islands: Iterable[Island], units: Mapping[str, str] = NO_UNITS) -> dict[str, list[str]]:
    """Columns whose units nobody has said, where the islands measure in different ones: rows mean one of them."""
    told: dict[str, list[str]] = {}
    for feature in (feature for island in islands for feature in island.features):
        if feature.unit and feature.name not in units and feature.unit not in told.setdefault(feature.name, []):
            told[feature.name].append(feature.unit)
    return {name: ways for name, ways in told.items() if len(ways) > 1}


def read_specification(path: Path, island: Island | str | None, known: Sequence[Island]) -> list[Fitted]:
    """A specification's file, in its own island if that is one of ``known``, from where a node searches the others of
    its features; else in those others.

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
    if home.digest in {each.digest for each in known}:
        return [Fitted(home, rkme)]
    others = reachable(home, known)[:MAX_ISLANDS]
    if not others:
        raise _no_island(Table(np.zeros((0, home.dimension)), home.names), known)
    return [Fitted(other, moved(rkme, home, other)) for other in others]


def elsewhere(fitted: Sequence[Fitted], islands: Sequence[Island]) -> list[Fitted]:
    """The reduced sets in those of ``islands`` that they were not fitted in, as a node moves them there by itself."""
    found: dict[bytes, Fitted] = {}
    there = {island.digest for island, _ in fitted}
    for source, given in fitted:
        if not isinstance(given, Rkme):
            continue
        for target in reachable(source, islands):
            if target.digest not in there | found.keys():
                found[target.digest] = Fitted(target, moved(given, source, target))
    return list(found.values())


def island_of(rkme: Rkme, known: Iterable[Island], begins: str = "") -> Island:
    """The one island that a specification can be of, by dimension and kernel, whose id ``begins`` so; IslandError if
    there is none, or more than one: numbers alone do not say what they mean."""
    fitting = [island for island in known if rkme.comparable(island) and island.id.startswith(begins)]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        named = f" whose id begins with {begins!r}" if begins else ""
        raise IslandError(f"{_words(rkme)} is of no island that this node knows{named}", hint="see `atoll island list`")
    ids = ", ".join(island.id[:16] for island in fitting[:MAX_ISLANDS])
    raise IslandError(f"{_words(rkme)} can be of {len(fitting)} islands: {ids}", hint="say of which island it is")


def _words(rkme: Rkme) -> str:
    return f"a specification of {rkme.dimension} dimensions, gamma {rkme.gamma:g},"


def _rkme(rows: Table | Path, island: Island, impute: bool, units: Mapping[str, str], progress: Progress) -> Rkme:
    method = "mean" if impute else None
    try:
        return specs.fit_rkme(
            lambda: island_units(rows, island, units), gamma=island.gamma, impute=method, progress=progress
        )
    except NotFinite:
        raise _not_finite(island_units(rows, island, units), island, impute) from None


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
        hint="clean them, or let column means take their place (impute)",
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
