"""What a session works on: the team, the rows block by block, and the labels as numbers. Blocking; bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from atoll.engine.reuse import Method
from atoll.engine.tables import Table
from atoll.node.errors import RequestInvalid
from atoll.node.reuse.query import ReuseQuery
from atoll.node.reuse.rows import Labelled, Rows, in_island
from atoll.node.reuse.team import Team, as_class_names
from numpy.typing import NDArray

SAMPLE, SAMPLED = 20_000, 4 << 20  # rows of the user that label-free methods are fitted to, and bytes of them
BLOCK = 8192  # rows that are worked on at a time
SEGMENT = 128  # rows that follow each other in a block
BYTES = 64 << 20  # that one block may take
LEARNING: tuple[Method, ...] = ("pruning", "augmentation")


@dataclass(frozen=True)
class Brief:
    """``sample`` (m, d) are some of the rows in island units; ``target`` (n,) are the labels as places in the team's
    class names, or values; ``units`` are those of columns; ``block`` is how many rows are worked on at a time."""

    team: Team
    rows: Rows
    labelled: Labelled | None
    units: Mapping[str, str]
    sample: NDArray[np.float32] = field(repr=False)
    target: NDArray[np.int64] | NDArray[np.float64] | None = field(repr=False)
    block: int = BLOCK

    @classmethod
    def of(cls, team: Team, query: ReuseQuery, rows: Rows, labelled: Labelled | None) -> Brief:
        """FeatureMismatch, NotFinite or RequestInvalid where the data do not fit the team or the method."""
        _check(team, query, labelled)
        sampled = min(SAMPLE, SAMPLED // (4 * team.island.dimension))
        raw = in_island(rows.sample(sampled), team.island, query.units)
        sample = team.island.transform(Table(raw, team.island.names))
        width = len(team.members) * team.width + 3 * team.island.dimension
        target = _target(team, labelled) if labelled is not None else None
        return cls(team, rows, labelled, query.units, sample, target, max(1, min(BLOCK, BYTES // (8 * width))))

    def blocks(self) -> Iterator[NDArray[np.int64]]:
        """The numbers of the rows of each block: short segments from all over the file, for files are often sorted, and
        owners judge what they get by whether it is like what their model was made for."""
        segments = np.random.default_rng(self.rows.count).permutation(-(-self.rows.count // SEGMENT))
        several = max(1, self.block // SEGMENT)
        for first in range(0, len(segments), several):
            begins = np.sort(segments[first : first + several]) * SEGMENT
            places = (begins[:, None] + np.arange(SEGMENT)).ravel()
            yield places[places < self.rows.count]

    def raw(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """The rows of one block, (n, d) in raw units and island order."""
        return in_island(self.rows.at(places), self.team.island, self.units)

    def raw_labelled(self) -> NDArray[np.float64]:
        """The labelled rows, the same way."""
        assert self.labelled is not None
        return in_island(self.labelled.rows, self.team.island, self.units)

    def in_units(self, raw: NDArray[np.float64]) -> NDArray[np.float32]:
        """Raw rows in island units."""
        return self.team.island.transform(Table(raw, self.team.island.names))


def _check(team: Team, query: ReuseQuery, labelled: Labelled | None) -> None:
    if query.method in LEARNING and labelled is None:
        raise RequestInvalid(f"{query.method} learns from labelled rows", hint="give some, or choose another method")
    if query.method == "vote" and not team.class_names:
        raise RequestInvalid("values cannot be voted on", hint="average them: method averaging")
    if query.method == "selector" and team.form != "rkme":
        raise RequestInvalid("the job selector needs specifications that are disclosed", hint="use method routing")
    if labelled is not None:
        in_island(labelled.rows, team.island, query.units)


def _target(team: Team, labelled: Labelled) -> NDArray[np.int64] | NDArray[np.float64]:
    if team.class_names:
        places = {name: place for place, name in enumerate(team.class_names)}
        names = as_class_names(labelled.labels, frozenset(team.class_names))
        return np.array([places[name] for name in names], np.int64)
    return np.array(labelled.labels, np.float64)
