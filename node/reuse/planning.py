"""The plan of a session, before anything is sent: one pass over the rows, and sentences of what leaves this node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from atoll.engine.reuse import Form, Method
from atoll.node.reuse import sentences
from atoll.node.reuse.brief import Brief
from atoll.node.reuse.ensemble import Coverage, Ensemble
from atoll.node.reuse.query import Place, PlannedMember, ReusePlan, ReuseQuery
from atoll.node.reuse.team import Unusable
from atoll.node.search.plan import Candidate

UNDECIDED = ("auto", "pruning", "augmentation")  # who is asked about what will be known only when they run


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
    id_: str, query: ReuseQuery, brief: Brief, surveyed: Survey, skipped: Mapping[str, Unusable], directory: Directory
) -> ReusePlan:  # fmt: skip
    """What will be done, told in the language in force; blocking."""
    team, method = brief.team, method_of(query, brief)
    labelled = len(brief.labelled.labels) if brief.labelled is not None else 0
    at_most = method in UNDECIDED
    members = tuple(
        _planned(member, place, weight, rows, at_most, directory)
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
        skipped={id_: sentences.why_not(each) for id_, each in skipped.items()},
        uncovered=uncovered,
        abstained=surveyed.abstained,
        leaves=sentences.leaves(
            members, rows=brief.rows.count, labelled=labelled, columns=brief.team.island.dimension, at_most=at_most,
            own=directory.own,
        ),
        sends_rows=any(each.place == "remote" for each in members),
        licenses=tuple(sorted({each.license for each in members if each.license})),
        advice=" ".join(filter(None, (sentences.advice(team, uncovered, query), sentences.misled(team, method)))),
        explained=team.explained,
    )  # fmt: skip


def _planned(
    member: Candidate, place: Place, weight: float, rows: int, at_most: bool, directory: Directory
) -> PlannedMember:  # fmt: skip
    listing, name = member.listing, directory.name(member.owner) or member.owner
    own = member.owner == directory.own
    downloaded = not own and directory.cached(listing.revision)
    sees = sentences.sees(name, own=own, here=place == "local", rows=rows, at_most=at_most)
    return PlannedMember(
        member.id, listing.revision.hex(), listing.federation.hex(), member.owner, name, listing.semantic.name,
        listing.semantic.license, weight, place, rows, downloaded, sees,
    )  # fmt: skip
