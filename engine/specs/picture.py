"""A specification as a picture: its points on the plane of their two main directions, as circles by weight.

The same RKME gives the same SVG. matplotlib, the extra `draw`, is loaded only to draw; pyplot never.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from atoll.engine.errors import SpecificationError
from atoll.engine.specs.rkme import Rkme
from numpy.typing import NDArray

SUFFIXES = (".svg", ".png")
INCHES = (6.4, 5.6)
LARGEST = 500.0  # square points (1/72 inch) of the largest circle
INK = "#1f5f8b"


@dataclass(frozen=True)
class Projection:
    """``places`` float64 (m, 2), and the ``shares`` of the variance that lie along the two axes."""

    places: NDArray[np.float64]
    shares: tuple[float, float]


@dataclass(frozen=True)
class Plane:
    """Two main directions: ``axes`` (2, d) through ``centre`` (d,), and the ``shares`` of the variance along them."""

    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    shares: tuple[float, float]

    def places(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Points (m, d) on the plane, (m, 2)."""
        return (np.asarray(points, np.float64) - self.centre) @ self.axes.T


def plane(*rkmes: Rkme) -> Plane:
    """Principal components of the points under their weights, each RKME counting the same; the largest loading of each
    axis is positive."""
    weights = np.concatenate([rkme.weights.astype(np.float64) for rkme in rkmes])
    weights /= weights.sum()
    points = np.concatenate([rkme.points.astype(np.float64) for rkme in rkmes])
    centre = weights @ points
    _, spread, axes = np.linalg.svd(np.sqrt(weights)[:, None] * (points - centre), full_matrices=False)
    axes *= np.where(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)] < 0, -1.0, 1.0)[:, None]
    two, shares = np.zeros((2, points.shape[1])), np.zeros(2)
    found = min(2, len(axes))
    two[:found] = axes[:found]
    if variance := float((spread**2).sum()):
        shares[:found] = spread[:found] ** 2 / variance
    return Plane(centre, two, (float(shares[0]), float(shares[1])))


def projected(*rkmes: Rkme) -> Projection:
    """The points of all, one RKME after another, on their :func:`plane`."""
    own = plane(*rkmes)
    return Projection(own.places(np.concatenate([rkme.points for rkme in rkmes])), own.shares)


def draw(rkme: Rkme, path: Path) -> None:
    """Write the picture as SVG or PNG, by the suffix; SpecificationError for another suffix or without matplotlib."""
    check(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    shown = projected(rkme)
    with rc_context({"svg.hashsalt": "atoll", "svg.fonttype": "none"}):
        figure = Figure(figsize=INCHES, layout="constrained")
        axes = figure.add_subplot()
        sizes = LARGEST * rkme.weights / rkme.weights.max()
        axes.scatter(shown.places[:, 0], shown.places[:, 1], s=sizes, color=INK, alpha=0.5, edgecolors=INK)
        axes.set_title(_title(rkme))
        axes.set_xlabel(f"first component, {shown.shares[0]:.0%} of the variance")
        axes.set_ylabel(f"second component, {shown.shares[1]:.0%} of the variance")
        axes.set_aspect("equal", adjustable="datalim")
        axes.margins(0.1)
        kind = path.suffix.lower()[1:]
        figure.savefig(path, format=kind, metadata={"Date": None} if kind == "svg" else None)  # no date: same bytes


def check(path: Path) -> None:
    """SpecificationError if a picture cannot be written there."""
    if path.suffix.lower() not in SUFFIXES:
        raise SpecificationError(f"{path}: a picture is one of {', '.join(SUFFIXES)}")
    if importlib.util.find_spec("matplotlib") is None:
        raise SpecificationError("drawing needs matplotlib, which is not installed", hint="pip install 'atoll[draw]'")


def _title(rkme: Rkme) -> str:
    return f"RKME: m = {len(rkme.weights)}, n = {rkme.count}, d = {rkme.dimension}, gamma = {rkme.gamma:.4g}"
