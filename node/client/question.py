"""A search as it is sent to a node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atoll.engine.islands import Island
from atoll.engine.semantic import SemanticQuery
from atoll.engine.specs.noised import NoisedSketch, Specification
from atoll.engine.tables import Table
from atoll.node.api.searches import RkmeBody, SearchBody, SpecificationBody
from atoll.node.errors import RequestInvalid
from atoll.node.search.query import Filters, Privacy


def rows_of(rows: Any) -> Table | Path:
    """Rows in whatever form a script has them; the path of a file stays one."""
    return Path(rows) if isinstance(rows, str | Path) else Table.of(rows)


def table_of(rows: Any) -> Table:
    """The same, read whole."""
    source = rows_of(rows)
    return Table.read(source) if isinstance(source, Path) else source


def question(
    fitted: Sequence[tuple[Island, Specification]] | str, semantic: SemanticQuery | str, limit: int,
    deadline_ms: int | None, privacy: Privacy, filters: Filters,
) -> SearchBody:  # fmt: skip
    """The body of a search."""
    if isinstance(fitted, str):
        raise RequestInvalid("words are no specification", hint='search by words alone: search(semantic="...")')
    specifications = tuple(_specification(island, given) for island, given in fitted)
    words = SemanticQuery(semantic) if isinstance(semantic, str) else semantic
    return SearchBody(specifications, words, limit, deadline_ms, privacy, filters)


def _specification(island: Island, given: Specification) -> SpecificationBody:
    if isinstance(given, NoisedSketch):
        return SpecificationBody(island.id, noised=given.to_bytes())
    points, weights = tuple(map(tuple, given.points.tolist())), tuple(given.weights.tolist())
    return SpecificationBody(island.id, RkmeBody(points, weights, float(given.gamma), int(given.count)))
