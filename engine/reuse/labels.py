"""Aligning label spaces: learnwares name their classes; the union is what the user is answered in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from atoll.engine.errors import DimensionMismatch
from numpy.typing import NDArray

Names = tuple[str, ...]


def aligned(
    outputs: Sequence[NDArray[np.floating]], class_names: Sequence[Names], extra: Names = ()
) -> tuple[Names, NDArray[np.float64]]:
    """Outputs of k members, each (n, own classes), over the common class names: (names, (n, k, c)).

    ``extra`` are names that the user's labels add. A member has probability 0 for a class it does not know, NaN where
    it has not answered. Without any names these are values of regressions, which pass through: (), (n, k, c).
    DimensionMismatch if widths differ, or only some members name classes.
    """
    named = [len(names) > 0 for names in class_names]
    if all(named) and named:
        common = union([*class_names, extra])
        return common, np.stack([spread(out, own, common) for out, own in zip(outputs, class_names, strict=True)], 1)
    if any(named) or len({np.shape(output)[1] for output in outputs}) > 1:
        raise DimensionMismatch(
            "the members predict different things: classes and values, or targets of different widths",
            hint="choose members of one task",
        )
    return (), np.stack([np.asarray(output, np.float64) for output in outputs], axis=1)


def union(class_names: Sequence[Names]) -> Names:
    """All names, sorted; numeric names in numeric order."""
    names = {name for names in class_names for name in names}
    return tuple(sorted(names, key=_order))


def _order(name: str) -> tuple[int, int, str, str]:
    """Numbers by their digits, for there may be more than Python counts with."""
    if not (name.isascii() and name.isdecimal()):
        return 1, 0, "", name
    digits = name.lstrip("0")
    return 0, len(digits), digits, name


def spread(output: NDArray[np.floating], own: Names, common: Names) -> NDArray[np.float64]:
    """Output (n, len(own)) laid out over the common classes: (n, len(common)), zero where the model has none, and NaN
    in rows without an answer."""
    if np.shape(output)[1] != len(own):
        raise DimensionMismatch(f"{np.shape(output)[1]} outputs for {len(own)} class names")
    places = {name: place for place, name in enumerate(common)}
    wide = np.zeros((len(output), len(common)))
    wide[:, [places[name] for name in own]] = output
    wide[np.isnan(wide).any(axis=1)] = np.nan
    return wide
