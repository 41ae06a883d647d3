"""The map: this node in the lagoon, its peers on the reef around it, a piece of reef for each federation.

Geometry, in units of the picture; the template makes SVG of it. Names of federations run around this node, each towards
its piece of reef, and lines begin outside of them: none goes through a name. Up to MANY peers each has a mark of its
own; beyond that one mark stands for all of a state in a piece of reef.
"""

from __future__ import annotations

import math
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from atoll.node.language import gettext
from atoll.node.web.network.around import STATES, Line, State

WIDTH, HEIGHT = 600, 480
CENTRE = (WIDTH / 2, HEIGHT / 2)
NAMED, MANY, PIECES = 14, 60, 7
LETTER, WIDE_LETTER = 12.0, 20.5  # of a peer's name where the picture is as narrow as a phone
EDGE = 6  # kept free
STEEP = 0.6  # cosine beyond which names are so far above each other that they may have two lines
FEW = 8  # marks among which any name may
ROOM = 16  # of names of federations, from their baseline to where lines begin
NARROW, WIDE = 8.6, 14.5  # a letter of such a name
GAP = 14.0  # degrees between two pieces of reef
FAR = 10  # logs from which on a lag is a large one
Key = tuple[str, ...]


class Mark(NamedTuple):
    """A peer (``line``), or so many ``peers``; ``lag`` 0 to 2 is the thickness of its line, (x1, y1) to (x2, y2) that
    line, (lx, ly) the place of its name, whose lines begin ``rise`` em above it."""

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
    label: tuple[str, ...]
    rise: float
    line: Line | None
    peers: int
    federation: str

    @property
    def middle(self) -> tuple[float, float]:
        """Where the sign stands that nothing passes."""
        return round((self.x1 + self.x2) / 2, 1), round((self.y1 + self.y2) / 2, 1)


class Reef(NamedTuple):
    """A piece of the ring as a ``path``; ``label``, if there is room for any, runs along the path ``around`` this node.
    ``colour`` counts from 1."""

    path: str
    around: str
    names: Key
    label: str
    colour: int
    peers: int
    rest: bool


class Chart(NamedTuple):
    """``home`` is the radius within which this node and the names of federations are; of the picture's height nothing
    is drawn outside of (``top``, ``height``)."""

    radius: float
    home: float
    top: float
    height: float
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
    radius, inner = (126.0, 60.0) if named else (196.0, 96.0)
    gap = GAP if len(pieces) > 1 else 24.0
    turn, reefs, marks = -90.0 + gap / 2, list[Reef](), list[Mark]()
    for number, (key, found) in enumerate(places.items(), start=1):
        span = (360.0 - gap * len(places)) * len(found) / total
        reefs.append(_reef(key, number, pieces[key], turn, span, radius, inner, rest=key == rest))
        ids = {each.id for line in pieces[key] for each in line.common}
        federation = min(ids) if len(ids) == 1 else ""
        for place, each in enumerate(found):
            angle = turn + span * (place + 0.5) / len(found)
            off = 0.0 if named or total <= 28 else (14.0, -14.0)[len(marks) % 2]
            marks.append(_mark(each, angle, radius + off, inner + ROOM, federation, total if named else 0))
        turn += span + gap
    top = 30.0 if named else 0.0
    return Chart(radius, inner + ROOM, top, HEIGHT - 2 * top, tuple(reefs), tuple(marks), named, whole)


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
    key: Key, number: int, lines: Sequence[Line], turn: float, span: float, radius: float, inner: float, *, rest: bool
) -> Reef:
    names = () if rest else tuple(each.name for each in lines[0].common)
    middle, room = turn + span / 2, min(span + GAP / 2, 170.0)
    lower = math.sin(math.radians(middle)) > 0  # there letters stand on the outer side, to be upright
    side = -85 if lower else 85  # a path shorter than its text would cut that
    around = _arc(middle - side, middle + side, inner + (10 if lower else 0))
    first = gettext("other federations") if rest else names[0] if names else gettext("nothing in common")
    label = _shortly(first, len(names) - 1, math.radians(room) * inner)
    return Reef(_arc(turn, turn + span, radius), around, names, label, (number - 1) % 5 + 1, len(lines), rest)


def _arc(begin: float, end: float, radius: float) -> str:
    """From one angle to the other, in that direction."""
    (x1, y1), (x2, y2) = _at(begin, radius), _at(end, radius)
    return (
        f"M{x1:.1f} {y1:.1f}A{radius:g} {radius:g} 0 {int(abs(end - begin) > 180)} {int(end > begin)} {x2:.1f} {y2:.1f}"
    )


def _shortly(first: str, others: int, room: float) -> str:
    """The first of the names, and how many more there are; nothing where not even four letters have room."""
    more = f" +{others}" if others > 0 else ""
    letters = int(room / (WIDE if _wide(first) else NARROW)) - len(more)
    return cut(first, letters) + more if letters >= min(4, len(first)) else ""


def _mark(place: _Place, angle: float, radius: float, begin: float, federation: str, named: int) -> Mark:
    """``named`` is among how many marks with names it is, 0 where they have none."""
    size = 15.0 if named or place.line is None else 11.0
    (x, y), (x1, y1), (x2, y2) = _at(angle, radius), _at(angle, begin), _at(angle, radius - size)
    (lx, ly), aside = _at(angle, radius + size + 5), math.cos(math.radians(angle))
    ly += 4 + 4 * math.sin(math.radians(angle))  # beneath the mark as far off as above it
    anchor = "middle" if abs(aside) < 0.08 else "start" if aside > 0 else "end"
    line, label = place.line, tuple[str, ...]()
    if line is not None and named:
        room = 2 * min(lx, WIDTH - lx) if anchor == "middle" else WIDTH - lx if anchor == "start" else lx
        label = _broken(line.name or line.short, room - EDGE, 2 if named <= FEW or abs(aside) > STEEP else 1)
    rise = (len(label) - 1) * (1 - math.sin(math.radians(angle))) / 2 if label else 0.0
    return Mark(
        x, y, size, place.state, place.lag, x1, y1, x2, y2, lx, round(ly, 1), anchor, label, round(rise, 2), line,
        place.peers, federation,
    )  # fmt: skip


def _broken(text: str, room: float, most: int) -> tuple[str, ...]:
    """On at most so many lines, between words if there are any; what has no room is cut."""
    letters, lines = int(room / (WIDE_LETTER if _wide(text) else LETTER)), list[str]()
    while len(text) > letters and len(lines) < most - 1:
        end = text.rfind(" ", 1, letters + 1)
        end = end if end > 0 else letters
        lines.append(text[:end].rstrip())
        text = text[end:].lstrip()
    return (*lines, cut(text, letters))


def _wide(text: str) -> bool:
    return sum(unicodedata.east_asian_width(letter) in "WF" for letter in text) * 2 > len(text)


def cut(text: str, letters: int) -> str:
    """So much of it that it fits."""
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"


def _at(angle: float, radius: float) -> tuple[float, float]:
    turned = math.radians(angle)
    return round(CENTRE[0] + radius * math.cos(turned), 1), round(CENTRE[1] + radius * math.sin(turned), 1)
