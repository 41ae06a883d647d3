"""Labelled rows in the ways that a script gives them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from atoll.engine.naming import instead
from atoll.engine.tables import Table
from atoll.engine.targets import read_labelled
from atoll.node.client.question import table_of
from atoll.node.errors import RequestInvalid
from numpy.typing import NDArray

Labels = str | Sequence[str] | Sequence[float] | NDArray[Any]
HOW = "labelled=(rows, labels), or (rows, the name of their column with the labels); rows may be the path of a file"


def labelled_of(given: tuple[Any, Labels]) -> tuple[Table, tuple[str | float, ...]]:
    """The rows without their labels, and those. Blocking; RequestInvalid says how they are given, TableError what is
    wrong with them."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise RequestInvalid(f"labelled is of type {type(given).__name__}, and not a pair", hint=HOW)
    rows, labels = given
    if isinstance(labels, str):
        rows, labels = _apart(rows, labels)
    plain = np.asarray(labels)
    if plain.ndim != 1:
        raise RequestInvalid(f"labels of shape {plain.shape}: one is expected for each row", hint=HOW)
    return table_of(rows), tuple(each if isinstance(each, str) else float(each) for each in plain.tolist())


def _apart(rows: Any, target: str) -> tuple[Any, Any]:
    """Rows and labels, where ``target`` names the column that holds those."""
    if isinstance(rows, str | Path):
        found = read_labelled(Path(rows), target)
        return found.rows, found.target
    if not (isinstance(rows, dict) or hasattr(rows, "iloc")):
        raise RequestInvalid(f"there is no column {target} in rows of type {type(rows).__name__}", hint=HOW)
    names = [str(name) for name in rows]
    if target not in names:
        raise RequestInvalid(f"there is no column {target}", hint=instead(target, names, "its columns are"))
    others = {name: rows[name] for name in rows if str(name) != target}
    return others, rows[target]
