"""The plan of a session, before anything is sent: one pass over the rows, and sentences of what leaves this node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from atoll.engine.reuse import Form, Method, union
from atoll.node.reuse import words
from atoll.node.reuse.brief import Brief
from atoll.node.reuse.ensemble import Coverage, Ensemble
from atoll.node.reuse.query import Place, PlannedMember, ReusePlan, ReuseQuery
from atoll.node.reuse.team import Team
from atoll.node.search.plan import Candidate

UNDECIDED = ("auto", "pruning", "augmentation")  # who is asked about what will be known only when they run
LITTLE = 0.1  # of the rows uncovered: above, that is worth a word


class Survey(NamedTuple):
    """How many rows each member has a say in (k,), how many rows no member covers, and how many get no answer."""

    rows: tuple[int, ...]
    uncovered: int
    abstained: int


@dataclass(frozen=True)
class Directory:
    """What is known beside the team: the ``name`` of an owner, whether a revision is ``cached`` here, and who we
    are (``own``)."""

    name: Callable[[str], str]
    cached: Callable[[bytes], bool]
    own: str


def method_of(query: ReuseQuery, brief: Brief) -> Method | Literal["auto"]:
    """The method, "auto" where labels are to choose it."""
    if query.method == "auto":
        return "auto" if brief.labelled is not None else "routing"
    return query.method


def survey(brief: Brief, query: ReuseQuery) -> Survey:
    """One pass over all rows, which are checked on the way; blocking."""
    team, count = brief.team, len(brief.team.members)
    method = method_of(query, brief)
    everything = method in UNDECIDED
    routed: Method = "routing" if method in UNDECIDED else msgspec.convert(method, Method)
    ensemble = Ensemble(team, routed, brief.sample)
    coverage = Coverage(team, brief.sample)
    totals, uncovered = np.zeros(count, np.int64), 0
    for places in brief.blocks():
        units = brief.in_units(brief.raw(places))
        covered = coverage.covered(units)
        uncovered += int((~covered).sum())
        answered = covered if query.abstain else np.ones(len(units), np.bool_)
        closed = np.repeat(~answered[:, None], count, axis=1)
        totals += int(answered.sum()) if everything else (ensemble.shares(units, closed) > 0).sum(axis=0)
    return Survey(tuple(map(int, totals)), uncovered, uncovered if query.abstain else 0)


def plan(
    id_: str, query: ReuseQuery, brief: Brief, surveyed: Survey, skipped: Mapping[str, str], directory: Directory
) -> ReusePlan:  # fmt: skip
    """What will be done; blocking."""
    team, method = brief.team, method_of(query, brief)
    labelled = len(brief.labelled.labels) if brief.labelled is not None else 0
    upto = "up to " if method in UNDECIDED else ""
    members = tuple(
        _planned(member, place, weight, rows, upto, directory)
        for member, place, weight, rows in zip(team.members, team.places, team.weights, surveyed.rows, strict=True)
    )
    routed: Form | None = team.form if method not in ("averaging", "vote", "single") else None
    uncovered = surveyed.uncovered / brief.rows.count
    return ReusePlan(
        reuse_id=id_,
        search_id=query.search_id,
        method=method,
        form=routed,
        rows=brief.rows.count,
        labelled=labelled,
        members=members,
        skipped=dict(skipped),
        uncovered=uncovered,
        abstained=surveyed.abstained,
        leaves=_leaves(members, brief, labelled, upto, directory.own),
        sends_rows=any(each.place == "remote" for each in members),
        licenses=tuple(sorted({each.license for each in members if each.license})),
        advice=" ".join(filter(None, (_advice(team, uncovered, query), misled(team, method)))),
    )


def misled(team: Team, method: str) -> str:
    """A warning where members know different classes and the method lets each have the same say in every row."""
    known = {frozenset(member.listing.class_names) for member in team.members}
    if method not in ("averaging", "vote") or len(known) == 1:
        return ""
    return (
        "The models know different classes, and by this method each has a say in rows of classes that it does not "
        "know: soft routing (method routing) is better here."
    )


def _planned(
    member: Candidate, place: Place, weight: float, rows: int, upto: str, directory: Directory
) -> PlannedMember:  # fmt: skip
    listing, name = member.listing, directory.name(member.owner) or member.owner
    own = member.owner == directory.own
    downloaded = not own and directory.cached(listing.revision)
    if own:
        sees = "nobody else: it is this node's own, and runs here"
    elif place == "local":
        sees = f"no rows: it runs here; {name} sees that this node has downloaded it, under a pseudonym of yours"
    elif not rows:
        sees = f"{name} sees none of your rows, unless others fail: then those that they have not answered, in full"
    else:
        sees = f"{name} sees {upto}{words.count(rows)} of your rows in full, under a pseudonym of yours"
    return PlannedMember(
        member.id, listing.revision.hex(), listing.federation.hex(), member.owner, name, listing.semantic.name,
        listing.semantic.license, weight, place, rows, downloaded, sees,
    )  # fmt: skip


def _leaves(
    members: tuple[PlannedMember, ...], brief: Brief, labelled: int, upto: str, own: str
) -> tuple[str, ...]:  # fmt: skip
    """What leaves this node, in sentences, one for each owner, and what may happen besides."""
    sentences = []
    remote = [each for each in members if each.place == "remote"]
    for owner in dict.fromkeys(each.owner for each in remote):
        theirs = [each for each in remote if each.owner == owner]
        told = " and ".join(f"{_few(each, upto)} for {each.name!r}" for each in theirs)
        few = f", and your {words.count(labelled)} labelled rows without their labels" if labelled else ""
        sentences.append(
            f"To {theirs[0].owner_name} ({owner}): of your {words.count(brief.rows.count)} rows {told}, with all "
            f"{brief.team.island.dimension} columns{few}; under a pseudonym of yours."
        )
    if not remote:
        sentences.append("No row leaves this node.")
    elif len(members) > 1:
        sentences.append("If a member fails or declines, rows that it has not answered go to the others of this plan.")
    fetched = [each for each in members if each.place == "local" and each.owner != own and not each.downloaded]
    sentences += [
        f"To {each.owner_name} ({each.owner}): a request for the package {each.name!r}; if that fails, others who "
        "list the same package may be asked, under a pseudonym of yours too."
        for each in fetched
    ]
    return tuple(sentences)


def _few(member: PlannedMember, upto: str) -> str:
    return f"{upto}{words.count(member.rows)}" if member.rows else "none, unless others fail,"


def _advice(team: Team, uncovered: float, query: ReuseQuery) -> str:
    told = []
    if not team.served:
        told.append("The learnwares that may be used do not cover your data: predictions are guesses.")
    elif uncovered > LITTLE:
        otherwise = "they get no answer" if query.abstain else "what is predicted for them is a guess"
        told.append(f"No member covers {uncovered:.0%} of your rows: {otherwise}.")
    named = {name for each, _ in team.absent for name in each.listing.class_names} - set(team.class_names)
    if named:
        told.append(f"Only what you may not use knows {', '.join(union([tuple(named)]))}: that is never predicted.")
    return " ".join(told)
