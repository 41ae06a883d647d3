"""Who takes part: a mixture of its own over what the user may use, since what may not be used must take no weight.

All members are of one island and predict the same kind of thing; each has a place where it runs. No effects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import isfinite
from typing import NamedTuple

from atoll.engine.islands import Island
from atoll.engine.matching import similarity
from atoll.engine.naming import listed
from atoll.engine.reuse import Form, union
from atoll.node.errors import NothingFound, RequestInvalid
from atoll.node.language import later
from atoll.node.reuse.query import MAX_MEMBERS, Place, ReuseQuery
from atoll.node.reuse.rows import Labelled
from atoll.node.search.merge import SERVED, mixture_of
from atoll.node.search.plan import Candidate
from atoll.node.search.running import Ground, Session
from atoll.protocol.errors import PolicyDenied

NEITHER = later("its owner offers you neither download nor prediction")
NOT_HERE = later("it runs at its owner only, and nothing is to be sent")
Kind = tuple[bool, int]  # classifier or not, width of a regression: what can be combined
CLASSIFIERS: Kind = (True, 0)
ALIKE = 0.1  # similarity, from which a learnware may fill a team up
EVEN = 0.3  # of the weights, that all members share alike; measured: algorithms, reuse
WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")  # a number as software writes whole ones


@dataclass(frozen=True)
class Team:
    """``members`` with their ``places`` and ``weights`` (k,); ``form`` is what they can all be routed by.
    ``class_names`` are all that any member, or label, names, empty for a regression of ``width`` values. ``served``:
    the mixture explains enough of the user's data to be worth reusing; ``explained`` is how much."""

    island: Island
    members: tuple[Candidate, ...]
    places: tuple[Place, ...]
    weights: tuple[float, ...]
    form: Form
    class_names: tuple[str, ...]
    width: int
    served: bool = True
    explained: float = 1.0
    absent: tuple[tuple[Candidate, float], ...] = ()


class Unusable(NamedTuple):
    """A learnware that cannot take part, the share of what was found of the user's data that it is like, and why it
    cannot: words that are translated where they are shown."""

    name: str
    share: float
    why: str


class _Found(NamedTuple):
    """A mixture, and the share of the user's squared norm that it explains."""

    island: Island
    members: tuple[Candidate, ...]
    weights: tuple[float, ...]
    explained: float


def gather(
    session: Session, query: ReuseQuery, labelled: Labelled | None, own: str
) -> tuple[Team, dict[str, Unusable]]:
    """The team for a search, and why others of its mixture cannot take part.

    NothingFound where nobody who may be used covers the data, unless ``force``; PolicyDenied where nobody may be used.
    """
    if not 1 <= query.members <= MAX_MEMBERS:
        raise RequestInvalid(f"{query.members} members: 1 to {MAX_MEMBERS} can take part")
    if not ((session.members and session.mixture.served) or query.force):
        hint = "look for other learnwares, or force it, to predict all the same"
        raise NothingFound("no learnware covers this data", hint=hint)
    found = [
        _mixture(alike, ground, query)
        for ground in session.grounds
        for alike in _alike([each for each in ground.candidates if place_of(each, query, own)], labelled)
    ]
    if not found:
        raise _nobody(session, query, labelled)
    best = max(found, key=lambda each: each.explained)
    disclosed = any(each.points for ground in session.grounds for each in ground.candidates)
    if not disclosed and (query.form == "rkme" or query.method == "selector"):
        raise RequestInvalid(
            "no owner whose learnware you may use discloses its specification to you", hint="use the form sketch"
        )
    absent = _absent(session, query, own)
    if not best.members or not (best.explained >= SERVED or query.force or query.method == "single"):
        others = ", and those that do are not offered to you" if absent else ""
        raise NothingFound(
            f"the learnwares that you may use do not cover this data{others}",
            hint="ask their owners: `atoll learnware ask`; or force it",
        )
    team = team_of(best.island, best.members, best.weights, query, labelled, own)
    known = tuple((each, weight) for each, weight in absent if _comparable(each, team))
    skipped = {each.id: _why_not(each, weight, query) for each, weight in absent}
    return replace(team, served=best.explained >= SERVED, explained=best.explained, absent=known), skipped


def team_of(
    island: Island, members: tuple[Candidate, ...], weights: tuple[float, ...], query: ReuseQuery,
    labelled: Labelled | None, own: str,
) -> Team:  # fmt: skip
    """A team of members that may all be used."""
    places = tuple(place for each in members if (place := place_of(each, query, own)) is not None)
    known = all(each.points for each in members)
    form: Form = "sketch" if query.form == "sketch" or not known else "rkme"
    names: tuple[str, ...] = ()
    if members[0].listing.class_names:
        named = [each.listing.class_names for each in members]
        told = as_class_names(labelled.labels, frozenset(chain(*named))) if labelled is not None else ()
        names = union([*named, tuple(dict.fromkeys(told))])
    return Team(island, members, places, weights, form, names, len(names) or members[0].listing.outputs)


def place_of(candidate: Candidate, query: ReuseQuery, own: str) -> Place | None:
    """Where it would run; None where the user may neither run it here nor have its owner predict."""
    if candidate.owner == own:
        return "local" if "predict" in candidate.may else None
    local, remote = "download" in candidate.may, "predict" in candidate.may and not query.local_only
    if local and (query.prefer == "local" or not remote):
        return "local"
    return "remote" if remote else None


def as_class_names(labels: Sequence[str | float], known: frozenset[str]) -> tuple[str, ...]:
    """Labels as the names that classes have: 1.0 is class 1, where that is known and 1.0 is not; 01 and 1e0 are other
    names."""
    return tuple(_class_name(str(label), known) for label in labels)


def _class_name(label: str, known: frozenset[str]) -> str:
    whole = WHOLE.fullmatch(label)
    return whole[1] if label not in known and whole is not None and whole[1] in known else label


def number(label: str | float) -> float | None:
    """A label as a value, None for what is none."""
    try:
        value = float(label)
    except ValueError:
        return None
    return value if isfinite(value) and "_" not in str(label) else None


def _alike(usable: Sequence[Candidate], labelled: Labelled | None) -> list[list[Candidate]]:
    """Those that can be combined with each other and tried on the labels: classifiers, regressions of one width."""
    kinds: dict[Kind, list[Candidate]] = {}
    for each in usable:
        kinds.setdefault(CLASSIFIERS if each.listing.class_names else (False, each.listing.outputs), []).append(each)
    return [found for kind, found in kinds.items() if labelled is None or _taught(kind, found, labelled)]


def _taught(kind: Kind, members: Sequence[Candidate], labelled: Labelled) -> bool:
    """Whether the labels say what members of a kind predict: some of their classes, or single values."""
    if kind == CLASSIFIERS:
        known = frozenset(chain(*(each.listing.class_names for each in members)))
        return not known.isdisjoint(as_class_names(labelled.labels, known))
    return kind == (False, 1) and all(number(label) is not None for label in labelled.labels)


def _mixture(usable: list[Candidate], ground: Ground, query: ReuseQuery) -> _Found:
    """The mixture of what is usable, in the form that is asked for; by ``force`` at least the nearest."""
    rkme = ground.asked.rkme if query.form != "sketch" else None
    if query.form == "rkme" or query.method == "selector":
        usable = [each for each in usable if each.points]
    if query.method == "single":
        usable = sorted(usable, key=lambda each: each.doubtful)[:1]
    if not usable:
        return _Found(ground.island, (), (), 0.0)
    view, members = mixture_of(usable, rkme, ground.sketch, query.members, min_gain=0.0)
    if not members and query.force:
        return _Found(ground.island, (usable[0],), (1.0,), view.explained)
    near = [each for each in usable if _near(each, ground.asked.norm2)]
    team = _filled_up(members, near, query)
    return _Found(ground.island, team, _shrunk([member.weight for member in view.members], len(team)), view.explained)


def _near(candidate: Candidate, norm2: float) -> bool:
    """Whether it may fill a team up: not by noise, and not where it has next to nothing of the user's data."""
    noised = candidate.summary is not None and candidate.summary.dp is not None
    return not noised and similarity(candidate.mmd2, norm2, candidate.norm2) >= ALIKE


def _filled_up(members: tuple[Candidate, ...], usable: Sequence[Candidate], query: ReuseQuery) -> tuple[Candidate, ...]:
    """With the nearest beside the mixture: what a row weighs decides better than what few points do."""
    if not members or query.method == "single":
        return members
    inside = {each.key for each in members}
    others = [each for each in usable if each.key not in inside and not each.doubtful]
    if all(each.points for each in members):
        others = [each for each in others if each.points]  # routing is in one form
    return (*members, *others)[: max(query.members, len(members))]


def _shrunk(weights: Sequence[float], count: int) -> tuple[float, ...]:
    """The weights of a mixture, and 0 for who is not in it, moved a little towards equal ones; they sum to 1."""
    padded = [*weights, *[0.0] * (count - len(weights))]
    return tuple((1.0 - EVEN) * each / sum(weights) + EVEN / count for each in padded)


def _nobody(session: Session, query: ReuseQuery, labelled: Labelled | None) -> PolicyDenied | RequestInvalid:
    found = [each for ground in session.grounds for each in ground.candidates]
    if not found or (query.local_only and not any("download" in each.may for each in found)):
        if found:
            return PolicyDenied(
                "no owner offers you download, and nothing may be sent", hint="let rows be sent, or ask for download"
            )
        return PolicyDenied("no owner offers you download or prediction", hint="ask the owners: `atoll learnware ask`")
    told = listed(_ordered(str(label) for label in (labelled.labels if labelled else ())))
    known = _ordered(chain(*(each.listing.class_names for each in found)))
    if not known:
        return RequestInvalid(
            f"what was found predicts values, and your labels are no single numbers: {told}",
            hint="label rows with the value itself, search for classifiers, or leave the labelled rows out",
        )
    return RequestInvalid(
        f"no model knows any of your classes {told}; they know {listed(known)}",
        hint="name the classes as the models do, or leave the labelled rows out",
    )


def _ordered(names: Iterable[str]) -> list[str]:
    """Each once: numbers by value, then words."""
    return sorted(set(names), key=lambda name: (number(name) is None, number(name) or 0.0, name))


def _absent(session: Session, query: ReuseQuery, own: str) -> list[tuple[Candidate, float]]:
    """Members of the search's mixture that the user may not use, each with its share of that."""
    weights = [member.weight for member in session.mixture.members]
    return [
        (each, weight / sum(weights))
        for each, weight in zip(session.members, weights, strict=True)
        if place_of(each, query, own) is None
    ]


def _comparable(candidate: Candidate, team: Team) -> bool:
    """Whether rows can be said to be likelier of it than of the team."""
    summary = candidate.summary
    alike = summary is not None and summary.island == team.island.digest
    return alike and (team.form == "sketch" or candidate.points is not None)


def _why_not(candidate: Candidate, weight: float, query: ReuseQuery) -> Unusable:
    local = query.local_only and "predict" in candidate.may
    return Unusable(candidate.listing.semantic.name, weight, NOT_HERE if local else NEITHER)
