"""Units of measurement: the same feature in another unit is the same feature.

Units come from other people's islands, so what is parsed is a product of names with small exponents, never an
expression. What is not a unit to pint (a code, a word) equals only itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from atoll.engine.errors import FeatureMismatch
from atoll.engine.islands import Island
from atoll.engine.tables import Table
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pint import UnitRegistry

MAX_UNIT = 40
FACTOR = r"°?[^\W\d]+((\*\*|\^)-?[1-6])?"
UNIT = re.compile(rf"{FACTOR}([ */]{FACTOR})*|%")
PROBES = np.array([0.0, 1.0, 100.0])


def convertible(source: str, target: str) -> bool:
    """Whether numbers in ``source`` can be told in ``target``; where either says nothing, they are taken as equal."""
    return _line(source.strip(), target.strip()) is not None


def convert(values: NDArray[np.float64], source: str, target: str) -> NDArray[np.float64]:
    """Numbers in one unit, in another; FeatureMismatch if they measure different things."""
    line = _line(source.strip(), target.strip())
    if line is None:
        raise FeatureMismatch(f"{source} cannot be converted to {target}")
    slope, offset = line
    return values * slope + offset


def in_units_of(island: Island, rows: Table, units: Mapping[str, str]) -> Table:
    """``rows``, whose columns are in ``units`` (by name; the island's own where nothing is said), in those of the
    island. FeatureMismatch if a unit is of a column that is not there, or measures something else."""
    unknown = sorted(set(units) - set(rows.columns))
    if unknown:
        raise FeatureMismatch(f"units of columns that are not there: {', '.join(unknown[:8])}")
    told = {feature.name: feature.unit for feature in island.features}
    changed = {name: unit for name, unit in units.items() if told.get(name, unit) != unit}
    if not changed:
        return rows
    values = rows.values.copy()
    for name, unit in changed.items():
        place = rows.columns.index(name)
        values[:, place] = convert(values[:, place], unit, told[name])
    return Table(values, rows.columns)


@lru_cache(maxsize=65536)
def _line(source: str, target: str) -> tuple[float, float] | None:
    """(slope, offset): all conversions here are affine, as those of temperatures are; None if there is none."""
    if source == target or not source or not target:
        return 1.0, 0.0
    if not (_readable(source) and _readable(target)):
        return None
    import pint

    try:
        zero, one, hundred = _registry().Quantity(PROBES, source).to(target).magnitude.tolist()
    except (pint.PintError, AssertionError, ValueError, TypeError, AttributeError, ArithmeticError, LookupError):
        return None  # "dB dB" is an assertion of pint that fails
    slope = one - zero
    affine = np.isfinite([zero, slope]).all() and abs(zero + 100.0 * slope - hundred) <= 1e-9 * max(1.0, abs(hundred))
    return (slope, zero) if affine and slope != 0.0 else None  # decibels, and the like, are no line


def _readable(unit: str) -> bool:
    return len(unit) <= MAX_UNIT and UNIT.fullmatch(unit) is not None


@cache
def _registry() -> UnitRegistry[float]:
    import pint  # half a second, for whom only one unit is named it is not needed

    return pint.UnitRegistry(cache_folder=None)
