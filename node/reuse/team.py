"""Who takes part: a mixture of its own over what the user may use, since what may not be used must take no weight.

All members are of one island and predict the same kind of thing; each has a place where it runs. No effects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Team:
    """``members`` with their ``places`` and ``weights`` (k,); ``form`` is what they can all be routed by.
    ``class_names`` are all that any member, or label, names, empty for a regression of ``width`` values."""

    island: Island
    members: tuple[Candidate, ...]
    places: tuple[Place, ...]
    weights: tuple[float, ...]
    form: Form
    class_names: tuple[str, ...]
    width: int


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
        raise _nobody(session, query)
    best = max(found, key=lambda each: each.explained)
    disclosed = any(each.points for ground in session.grounds for each in ground.candidates)
    if not disclosed and (query.form == "rkme" or query.method == "selector"):
        raise RequestInvalid(
            "no owner whose learnware you may use discloses its specification to you", hint="use the form sketch"
        )
    if not best.members or not (best.explained >= SERVED or query.force):
        raise NothingFound(
            "the learnwares that you may use do not cover this data, and those that do are not offered to you",
            hint="ask their owners: `atoll learnware ask`; or force it",
        )
    skipped = {each.id: _why_not(each, query) for each in session.members if place_of(each, query, own) is None}
    return team_of(best.island, best.members, best.weights, query, labelled, own), skipped


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
        told = _class_names(labelled) if labelled is not None else ()
        names = union([*(each.listing.class_names for each in members), told])
    return Team(island, members, places, weights, form, names, len(names) or members[0].listing.outputs)


def place_of(candidate: Candidate, query: ReuseQuery, own: str) -> Place | None:
    """Where it would run; None where the user may neither run it here nor have its owner predict."""
    if candidate.owner == own:
        return "local" if "predict" in candidate.may else None
    local, remote = "download" in candidate.may, "predict" in candidate.may and not query.local_only
    if local and (query.prefer == "local" or not remote):
        return "local"
    return "remote" if remote else None


def as_class_names(labels: Sequence[str | float]) -> tuple[str, ...]:
    """Labels as the names that classes have: a column of whole numbers may have been read as floats."""
    return tuple(
        label if isinstance(label, str) else str(int(label)) if float(label).is_integer() else str(label)
        for label in labels
    )


def _class_names(labelled: Labelled) -> tuple[str, ...]:
    return tuple(dict.fromkeys(as_class_names(labelled.labels)))


def _alike(usable: Sequence[Candidate], labelled: Labelled | None) -> list[list[Candidate]]:
    """Those that can be combined with each other and tried on the labels: classifiers, regressions of one width."""
    kinds: dict[Kind, list[Candidate]] = {}
    for each in usable:
        classifies = bool(each.listing.class_names)
        kinds.setdefault((classifies, 0 if classifies else each.listing.outputs), []).append(each)
    if labelled is not None:
        numeric = not any(isinstance(label, str) for label in labelled.labels)
        wanted: Kind = (False, 1) if numeric and (False, 1) in kinds else (True, 0)
        kinds = {kind: found for kind, found in kinds.items() if kind == wanted}
    return list(kinds.values())


def _mixture(usable: list[Candidate], ground: Ground, query: ReuseQuery) -> _Found:
    """The mixture of what is usable, in the form that is asked for; by ``force`` at least the nearest."""
    rkme = ground.asked.rkme if query.form != "sketch" else None
    if query.form == "rkme" or query.method == "selector":
        usable = [each for each in usable if each.points]
    if query.method == "single":
        usable = sorted(usable, key=lambda each: each.doubtful)[:1]
    if not usable:
        return _Found(ground.island, (), (), 0.0)
    view, members = mixture_of(usable, rkme, ground.sketch, query.members)
    if not members and query.force:
        return _Found(ground.island, (usable[0],), (1.0,), view.explained)
    return _Found(ground.island, members, tuple(member.weight for member in view.members), view.explained)


def _nobody(session: Session, query: ReuseQuery) -> PolicyDenied | RequestInvalid:
    if any({"predict", "download"} & set(each.may) for ground in session.grounds for each in ground.candidates):
        if query.local_only:
            return PolicyDenied(
                "no owner offers you download, and nothing may be sent", hint="let rows be sent, or ask for download"
            )
        return RequestInvalid(
            "none of the learnwares that you may use predicts what your labels are",
            hint="leave the labels out, or look for learnwares that do",
        )
    return PolicyDenied("no owner offers you download or prediction", hint="ask the owners: `atoll learnware ask`")


def _why_not(candidate: Candidate, query: ReuseQuery) -> str:
    if query.local_only and "predict" in candidate.may:
        return "it runs at its owner only, and nothing is to be sent"
    return NEITHER
