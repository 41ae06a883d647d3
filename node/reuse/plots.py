"""The geometry of the report's plots: from numbers to bars and intervals in per cent of the width. Draws nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CLASSES = 12  # shown one by one; the rest are one bar
ROOM = 1.06  # of an axis beyond what is longest on it


@dataclass(frozen=True)
class Bar:
    """A named count; ``share`` is of all, and ``width`` the same in per cent."""

    name: str
    count: int
    share: float

    @property
    def width(self) -> float:
        return 100.0 * self.share


@dataclass(frozen=True)
class Column:
    """One bin of a histogram, in a box of 100 x 100 whose y grows downwards; ``low`` and ``high`` are its edges."""

    x: float
    y: float
    width: float
    height: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Interval:
    """A value and the ends of its interval; ``at``, ``left`` and ``right`` are per cent of an axis that begins at 0."""

    name: str
    value: float
    low: float
    high: float
    at: float
    left: float
    right: float


@dataclass(frozen=True)
class Segment:
    """A part of a stacked bar of width 100; ``place`` counts from 0."""

    place: int
    x: float
    width: float


def bars(counts: Mapping[str, int], limit: int = CLASSES) -> tuple[tuple[Bar, ...], int, int]:
    """(the ``limit`` most frequent, most frequent first; how many others there are; their count)."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown, rest = ordered[:limit], ordered[limit:]
    total = max(1, sum(counts.values()))
    made = tuple(Bar(name, number, number / total) for name, number in shown)
    return made, len(rest), sum(number for _, number in rest)


def columns(edges: Sequence[float], counts: Sequence[int]) -> tuple[Column, ...]:
    """A histogram of len(edges) - 1 bins."""
    span, tallest = (edges[-1] - edges[0]) or 1.0, max([1, *counts])
    made = []
    for low, high, number in zip(edges[:-1], edges[1:], counts, strict=True):
        height = 100.0 * number / tallest
        x, width = 100.0 * (low - edges[0]) / span, 100.0 * (high - low) / span
        made.append(Column(x, 100.0 - height, width, height, low, high, number))
    return tuple(made)


def shares_columns(counts: Sequence[int]) -> tuple[Column, ...]:
    """A histogram of equal bins over [0, 1]."""
    return columns([place / len(counts) for place in range(len(counts) + 1)], counts)


def intervals(losses: Mapping[str, tuple[float, float, float]]) -> tuple[Interval, ...]:
    """Best first, all on one axis, of (value, low, high)."""
    longest = max([high for _, _, high in losses.values()], default=0.0) * ROOM or 1.0
    made = []
    for name, ends in sorted(losses.items(), key=lambda item: item[1]):
        made.append(Interval(name, *ends, *(100.0 * each / longest for each in ends)))
    return tuple(made)


def stack(weights: Sequence[float]) -> tuple[Segment, ...]:
    """Shares side by side; they fill the bar if they sum to 1."""
    made, start = [], 0.0
    for place, weight in enumerate(weights):
        width = 100.0 * min(max(weight, 0.0), 1.0)
        made.append(Segment(place, start, width))
        start += width
    return tuple(made)


def at_least(counts: Sequence[int], edge: float) -> float:
    """The share of what lies in equal bins over [0, 1] at or above ``edge``, which is an edge of them."""
    first = round(edge * len(counts))
    return sum(counts[first:]) / max(1, sum(counts))
