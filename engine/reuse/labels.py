"""Aligning label spaces: learnwares name their classes; the union is what the user is answered in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def union(class_names: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """All names, sorted; numeric names in numeric order."""
    names = {name for names in class_names for name in names}
    return tuple(sorted(names, key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name)))


def spread(output: NDArray[np.floating], own: tuple[str, ...], common: tuple[str, ...]) -> NDArray[np.float64]:
    """Output (n, len(own)) laid out over the common classes: (n, len(common)), zero where the model has none."""
    places = {name: place for place, name in enumerate(common)}
    wide = np.zeros((len(output), len(common)))
    wide[:, [places[name] for name in own]] = output
    return wide
