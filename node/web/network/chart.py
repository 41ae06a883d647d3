"""The map: this node in the lagoon, its peers on the reef around it, a piece of reef for each federation.

Pure geometry, in units of the picture; the template makes SVG of it. Up to MANY peers each has a mark of its own;
beyond that one mark stands for all of a state in a piece of reef.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from atoll.node.web.network.around import STATES, Line, State

WIDTH, HEIGHT = 600, 480
CENTRE = (WIDTH / 2, HEIGHT / 2)
NAMED, MANY, PIECES = 14, 60, 7
LETTERS = 12
NODE = 36  # radius of this node
GAP = 14.0  # degrees between two pieces of reef
FAR = 10  # logs from which on a lag is a large one
Key = tuple[str, ...]


class Mark(NamedTuple):
    """A peer (``line``), or so many ``peers``; ``lag`` 0 to 2 is the thickness of its line, (x1, y1) to (x2, y2) that
    line, (lx, ly) the place of its name."""

    x: float
    y: float
    r: float
    state: State
    lag: int
    x1: float
    y1: float
    x2: float
    y2: float
    lx: float
    ly: float
    anchor: str
    label: str
    line: Line | None
    peers: int
    federation: str

    @property
    def middle(self) -> tuple[float, float]:
        """Where the sign stands that nothing passes."""
        return round((self.x1 + self.x2) / 2, 1), round((self.y1 + self.y2) / 2, 1)


class Reef(NamedTuple):
    """A piece of the ring as a path, with the names of its federations at (x, y); ``colour`` counts from 1."""

    path: str
    x: float
    y: float
    anchor: str
    names: Key
    label: str
    colour: int
    peers: int
    rest: bool


class Chart(NamedTuple):
    radius: float
    reefs: tuple[Reef, ...]
    marks: tuple[Mark, ...]
    named: bool
    whole: bool


class _Place(NamedTuple):
    state: State
    line: Line | None
    peers: int
    lag: int


def chart(lines: Sequence[Line]) -> Chart:
    """Where everything is."""
    pieces, rest = _pieces(lines)
    whole = len(lines) <= MANY
    places = {key: _each(found) if whole else _by_state(found) for key, found in pieces.items()}
    total = sum(map(len, places.values()))
    named = total <= NAMED
    radius = 146.0 if named else 196.0
    gap = GAP if len(pieces) > 1 else 24.0
    turn, reefs, marks = -90.0 + gap / 2, list[Reef](), list[Mark]()
    for number, (key, found) in enumerate(places.items(), start=1):
        span = (360.0 - gap * len(places)) * len(found) / total
        reefs.append(_reef(key, number, pieces[key], turn, span, radius, len(pieces), rest=key == rest))
        ids = {each.id for line in pieces[key] for each in line.common}
        federation = min(ids) if len(ids) == 1 else ""
        for place, each in enumerate(found):
            angle = turn + span * (place + 0.5) / len(found)
            off = 0.0 if named or total <= 28 else (14.0, -14.0)[len(marks) % 2]
            marks.append(_mark(each, angle, radius + off, federation, named=named))
        turn += span + gap
    return Chart(radius, tuple(reefs), tuple(marks), named, whole)


def _pieces(lines: Sequence[Line]) -> tuple[Mapping[Key, list[Line]], Key]:
    """The lines by what federations they have in common with this node, the largest first; what is beyond PIECES comes
    together under the key that is returned with them."""
    found: dict[tuple[str, ...], list[Line]] = defaultdict(list)
    for line in lines:
        found[tuple(each.id for each in line.common)].append(line)
    ordered = sorted(found.items(), key=lambda item: (not item[0], -len(item[1]), item[0]))
    rest: Key = ("",)
    if len(ordered) <= PIECES:
        return dict(ordered), rest
    kept = dict(ordered[: PIECES - 1])
    kept[rest] = [line for _, group in ordered[PIECES - 1 :] for line in group]
    return kept, rest


def _each(lines: Sequence[Line]) -> list[_Place]:
    return [_Place(line.state, line, 1, _thickness(line.distance)) for line in lines]


def _by_state(lines: Sequence[Line]) -> list[_Place]:
    grouped = {state: [line for line in lines if line.state == state] for state in STATES}
    return [
        _Place(state, None, len(found), _thickness(max(line.distance for line in found)))
        for state, found in grouped.items()
        if found
    ]


def _thickness(distance: int) -> int:
    return 0 if not distance else 1 if distance < FAR else 2


def _reef(
    key: Key, number: int, lines: Sequence[Line], turn: float, span: float, radius: float, pieces: int, *, rest: bool
) -> Reef:
    begin, end = _at(turn, radius), _at(turn + span, radius)
    path = f"M{begin[0]:.1f} {begin[1]:.1f}A{radius:g} {radius:g} 0 {int(span > 180)} 1 {end[0]:.1f} {end[1]:.1f}"
    names = () if rest else tuple(each.name for each in lines[0].common)
    aside = math.cos(math.radians(turn + span / 2))
    alone, level = pieces == 1, abs(aside) > 0.5
    (x, y) = (
        (CENTRE[0], CENTRE[1] + 0.6 * radius) if alone else _at(turn + span / 2, radius * (0.84 if level else 0.64))
    )
    anchor = "middle" if alone or not level else "end" if aside > 0 else "start"
    label = _shortly(names, 26 if alone else 10 if level else 15)
    return Reef(path, x, y, anchor, names, label, (number - 1) % 5 + 1, len(lines), rest)


def _shortly(names: Key, letters: int) -> str:
    """The first of the names, and how many more there are."""
    if not names:
        return ""
    more = f" +{len(names) - 1}" if len(names) > 1 else ""
    return cut(names[0], letters - len(more)) + more


def _mark(place: _Place, angle: float, radius: float, federation: str, *, named: bool) -> Mark:
    size = 15.0 if named or place.line is None else 11.0
    (x, y), (x1, y1), (x2, y2) = _at(angle, radius), _at(angle, NODE), _at(angle, radius - size)
    (lx, ly), aside = _at(angle, radius + size + 5), math.cos(math.radians(angle))
    anchor = "middle" if abs(aside) < 0.08 else "start" if aside > 0 else "end"
    line = place.line
    label = cut(line.name or line.short, LETTERS) if line is not None and named else ""
    return Mark(
        x, y, size, place.state, place.lag, x1, y1, x2, y2, lx, round(ly + 4, 1), anchor, label, line, place.peers,
        federation,
    )  # fmt: skip


def cut(text: str, letters: int) -> str:
    """So much of it that it fits."""
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"


def _at(angle: float, radius: float) -> tuple[float, float]:
    turned = math.radians(angle)
    return round(CENTRE[0] + radius * math.cos(turned), 1), round(CENTRE[1] + radius * math.sin(turned), 1)
