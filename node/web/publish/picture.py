"""The picture of a draft's reduced set on paper: its points as circles, beside the rows, counted by cells."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from atoll.node.web.reading.fitting import Picture
from atoll.node.web.search.overlay import Circle, circles, on_paper

SHADES = 5


class Tile(NamedTuple):
    """A rectangle in the units of the view box; ``shade`` from 1, the palest."""

    x: float
    y: float
    width: float
    height: float
    shade: int


class Drawing(NamedTuple):
    """``shares`` of the variance along the axes."""

    tiles: tuple[Tile, ...]
    circles: tuple[Circle, ...]
    shares: tuple[float, float]


def drawn(picture: Picture) -> Drawing:
    """The picture in the view box of a search's."""
    points = np.array(picture.places, np.float64).reshape(-1, 2)
    corners = np.array([((c.left, c.low), (c.right, c.high)) for c in picture.cells], np.float64).reshape(-1, 2)
    placed = on_paper(np.concatenate([points, corners]))
    own, cells = placed[: len(points)], placed[len(points) :].reshape(-1, 2, 2)
    most = max((cell.rows for cell in picture.cells), default=1)
    tiles = tuple(
        Tile(
            round(float(left[0]), 1), round(float(right[1]), 1), round(float(right[0] - left[0]), 1),
            round(float(left[1] - right[1]), 1), 1 + min(SHADES - 1, int(SHADES * np.sqrt(cell.rows / most))),
        )
        for cell, (left, right) in zip(picture.cells, cells, strict=True)
    )  # fmt: skip
    return Drawing(tiles, circles(own, np.array(picture.weights)), picture.shares)
