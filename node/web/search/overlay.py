"""The user's RKME and those of the chosen hits on the plane of their two main directions, as circles by weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from atoll.engine.specs.picture import projected
from atoll.engine.specs.rkme import Rkme
from atoll.node.search.plan import Candidate
from atoll.node.search.query import Hit, SearchResult
from atoll.node.search.running import Running
from numpy.typing import NDArray

MOST_SHOWN = 5  # beside the user's: as many as colours are told apart
WIDTH, HEIGHT, MARGIN = 640.0, 440.0, 34.0
LARGEST, SMALLEST = 20.0, 1.2  # radii

Key = tuple[str, str]  # learnware, owner


class Circle(NamedTuple):
    """In the units of the view box."""

    x: float
    y: float
    radius: float


class Cloud(NamedTuple):
    """One RKME; ``series`` 0 is the user's, which has no name."""

    series: int
    name: str
    owner: str
    circles: tuple[Circle, ...]


class Choice(NamedTuple):
    """A hit that discloses its RKME, to be drawn or not."""

    hit: Hit
    shown: bool


class Overlay(NamedTuple):
    """``shares`` of the variance along the axes; ``undisclosed``: hits that cannot be drawn."""

    clouds: tuple[Cloud, ...]
    choices: tuple[Choice, ...]
    shares: tuple[float, float]
    undisclosed: int


def overlay(running: Running, result: SearchResult, wanted: Sequence[str]) -> Overlay | None:
    """The picture of a search by an RKME, None of any other. ``wanted`` names hits by ``chosen``; without any, the
    mixture's members are drawn, or the three nearest. Drawn is one island: that of the mixture, or of the nearest."""
    rkmes = {(each.id, each.owner): each for each in running.candidates if each.rkme is not None}
    drawable = [hit for hit in result.hits if (hit.learnware_id, hit.owner) in rkmes]
    asked = _asked(running, [rkmes[hit.learnware_id, hit.owner] for hit in drawable])
    if asked is None:
        return None
    drawable = [hit for hit in drawable if _rkme(rkmes, hit).comparable(asked[1]) and hit.island == asked[0]]
    shown = [hit for hit in drawable if chosen(hit) in wanted] if wanted else _first(drawable, result)
    shown = shown[:MOST_SHOWN]
    series, mine = [0, *_series(shown, result)], ("", "", asked[1])
    theirs = [(hit.name, hit.owner, _rkme(rkmes, hit)) for hit in shown]
    clouds, shares = drawn([(each, *of) for each, of in zip(series, [mine, *theirs], strict=True)])
    choices = tuple(Choice(hit, hit in shown) for hit in drawable)
    return Overlay(clouds, choices, shares, len(result.hits) - len(drawable))


def drawn(sets: Sequence[tuple[int, str, str, Rkme]]) -> tuple[tuple[Cloud, ...], tuple[float, float]]:
    """Reduced sets of one island as clouds on one plane, of each (series, name, owner, RKME); and which shares of the
    spread lie along the axes."""
    projection = projected(*(rkme for *_, rkme in sets))
    places, clouds, start = on_paper(projection.places), [], 0
    for series, name, owner, rkme in sets:
        end = start + len(rkme.weights)
        clouds.append(Cloud(series, name, owner, circles(places[start:end], rkme.weights)))
        start = end
    return tuple(clouds), projection.shares


def chosen(hit: Hit) -> str:
    """How a form names a hit."""
    return f"{hit.learnware_id}.{hit.owner}"


def _rkme(rkmes: dict[Key, Candidate], hit: Hit) -> Rkme:
    rkme = rkmes[hit.learnware_id, hit.owner].rkme
    assert rkme is not None  # such are not in it
    return rkme


def _asked(running: Running, drawable: Sequence[Candidate]) -> tuple[str, Rkme] | None:
    """The island that is drawn, in hex, and the user's RKME in it."""
    asked = {each.island.hex(): each.rkme for each in running.query.specifications if each.rkme is not None}
    if not asked:
        return None
    wanted = [running.session.island.id] if running.session is not None else []
    wanted += [each.summary.island.hex() for each in drawable if each.summary is not None]
    island = next((each for each in wanted if each in asked), next(iter(asked)))
    return island, asked[island]


def _first(drawable: Sequence[Hit], result: SearchResult) -> list[Hit]:
    members = {(each.learnware_id, each.owner) for each in result.mixture.members} if result.mixture else set()
    mixed = [hit for hit in drawable if (hit.learnware_id, hit.owner) in members]
    return mixed or list(drawable[:3])


def _series(shown: Sequence[Hit], result: SearchResult) -> list[int]:
    """The colours of hits: those of the mixture have the same as in its bar, the others what is left."""
    members = [(each.learnware_id, each.owner) for each in result.mixture.members] if result.mixture else []
    kept = {key: place + 1 for place, key in enumerate(members[:MOST_SHOWN])}
    drawn = [(hit.learnware_id, hit.owner) for hit in shown]
    left = iter(sorted(set(range(1, MOST_SHOWN + 1)) - {kept[key] for key in drawn if key in kept}))
    return [kept[key] if key in kept else next(left) for key in drawn]


def on_paper(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places (m, 2) in the view box, one scale for both axes, y upwards."""
    low, high = places.min(axis=0), places.max(axis=0)
    room = np.array([WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN])
    scale = float((room / np.maximum(high - low, 1e-9)).min())
    centred = (places - (low + high) / 2) * scale * np.array([1.0, -1.0])
    return np.asarray(centred + np.array([WIDTH, HEIGHT]) / 2)


def circles(places: NDArray[np.float64], weights: NDArray[np.floating]) -> tuple[Circle, ...]:
    """The area is the weight: radii go with its root, and the same weight is as large in every cloud. Large ones come
    first, so that small ones lie upon them."""
    radii = np.maximum(LARGEST * np.sqrt(weights.astype(np.float64) / 0.1), SMALLEST)
    order = np.argsort(-radii, kind="stable")
    return tuple(
        Circle(round(float(places[each, 0]), 1), round(float(places[each, 1]), 1), round(float(radii[each]), 2))
        for each in order
    )
