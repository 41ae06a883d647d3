"""The small charts of use: a column a day, drawn as one path, and the figures that are said beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from atoll.protocol.limits import DAY

DAYS = 30


@dataclass(frozen=True)
class Chart:
    """``path`` is in a box of ``width`` x ``height``; ``days`` (ms, midnights UTC) and ``amounts`` go to today."""

    days: tuple[int, ...]
    amounts: tuple[int, ...]
    path: str
    width: int
    height: int

    @property
    def total(self) -> int:
        return sum(self.amounts)

    @property
    def most(self) -> int:
        return max(self.amounts)


def first_day(now: int) -> int:
    """The midnight with which the days of a chart begin."""
    return (now // DAY - DAYS + 1) * DAY


def chart(amounts: Mapping[int, int], now: int, *, width: int = 120, height: int = 28) -> Chart:
    """The last 30 days of amounts by day; a day without any is a line at the foot."""
    days = tuple(first_day(now) + place * DAY for place in range(DAYS))
    values = tuple(amounts.get(day, 0) for day in days)
    step, most = width / DAYS, max(values) or 1
    path = "".join(_column(place * step, step * 0.72, _height(each, most, height), height)
                   for place, each in enumerate(values))  # fmt: skip
    return Chart(days, values, path, width, height)


def _height(amount: int, most: int, height: int) -> float:
    return max(2.0, height * amount / most) if amount else 0.8


def _column(x: float, width: float, tall: float, height: int) -> str:
    return f"M{x:.1f} {height}v-{tall:.1f}h{width:.1f}v{tall:.1f}z"
