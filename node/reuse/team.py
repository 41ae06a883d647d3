"""Who takes part: a mixture of its own over what the user may use, since what may not be used must take no weight.

All members are of one island and predict the same kind of thing; each has a place where it runs. No effects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import isfinite
from typing import NamedTuple

from atoll.engine.islands import Island
from atoll.engine.reuse import Form, union
from atoll.node.errors import NothingFound, RequestInvalid
from atoll.node.reuse.query import MAX_MEMBERS, Place, ReuseQuery
from atoll.node.reuse.rows import Labelled
from atoll.node.search.merge import SERVED, mixture_of
from atoll.node.search.plan import Candidate
from atoll.node.search.running import Ground, Session
from atoll.protocol.errors import PolicyDenied

NEITHER = "its owner offers you neither download nor prediction"
Kind = tuple[bool, int]  # classifier or not, width of a regression: what can be combined
CLASSIFIERS: Kind = (True, 0)
EVEN = 0.3  # of the weights, that all members share alike; measured: algorithms, reuse
SHOWN = 8  # names in a message


@dataclass(frozen=True)
class Team:
    """``members`` with their ``places`` and ``weights`` (k,); ``form`` is what they can all be routed by.
    ``class_names`` are all that any member, or label, names, empty for a regression of ``width`` values. ``served``:
    the mixture explains enough of the user's data to be worth reusing."""

    island: Island
    members: tuple[Candidate, ...]
    places: tuple[Place, ...]
    weights: tuple[float, ...]
    form: Form
    class_names: tuple[str, ...]
    width: int
    served: bool = True


class _Found(NamedTuple):
    """A mixture, and the share of the user's squared norm that it explains."""

    island: Island
    members: tuple[Candidate, ...]
    weights: tuple[float, ...]
    explained: float


def gather(session: Session, query: ReuseQuery, labelled: Labelled | None, own: str) -> tuple[Team, dict[str, str]]:
    """The team for a search, and why others of its mixture cannot take part.

    NothingFound where nobody who may be used covers the data, unless ``force``; PolicyDenied where nobody may be used.
    """
    if not 1 <= query.members <= MAX_MEMBERS:
        raise RequestInvalid(f"{query.members} members: 1 to {MAX_MEMBERS} can take part")
    if not session.members or not (session.mixture.served or query.force):
        raise NothingFound("no learnware covers this data", hint="look for other learnwares, or force it")
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
    skipped = {each.id: _why_not(each, query) for each in session.members if place_of(each, query, own) is None}
    if not best.members or not (best.explained >= SERVED or query.force or query.method == "single"):
        others = ", and those that do are not offered to you" if skipped else ""
        raise NothingFound(
            f"the learnwares that you may use do not cover this data{others}",
            hint="ask their owners: `atoll learnware ask`; or force it",
        )
    team = team_of(best.island, best.members, best.weights, query, labelled, own)
    return replace(team, served=best.explained >= SERVED), skipped


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
    """Labels as the names that classes have: 1.0 is class 1, where that is known and 1.0 is not."""
    return tuple(_class_name(str(label), known) for label in labels)


def _class_name(label: str, known: frozenset[str]) -> str:
    value = number(label)
    if label not in known and value is not None and value.is_integer() and str(int(value)) in known:
        return str(int(value))
    return label


def number(label: str | float) -> float | None:
    """A label as a value, None for what is none."""
    try:
        value = float(label)
    except ValueError:
        return None
    return value if isfinite(value) else None


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
    team = _filled_up(members, usable, query)
    return _Found(ground.island, team, _shrunk([member.weight for member in view.members], len(team)), view.explained)


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
    told = ", ".join(dict.fromkeys(str(label) for label in (labelled.labels if labelled else ())[:SHOWN]))
    known = list(dict.fromkeys(chain(*(each.listing.class_names for each in found)))) or ["values"]
    return RequestInvalid(
        f"no model knows any of your classes {told}; they know {', '.join(known[:SHOWN])}",
        hint="name the classes as the models do, or leave the labelled rows out",
    )


def _why_not(candidate: Candidate, query: ReuseQuery) -> str:
    if query.local_only and "predict" in candidate.may:
        return "it runs at its owner only, and nothing is to be sent"
    return NEITHER
