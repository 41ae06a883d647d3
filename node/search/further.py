"""Whom else to ask, once those have answered who were asked first: where there are many owners, what those hold who
were not among the first may still belong into the list, as far as sketches tell."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from atoll.engine.matching import at_least
from atoll.node.search import merge
from atoll.node.search.hearing import Heard
from atoll.node.search.plan import Plan, Question, of_first_owners
from atoll.node.search.query import SearchQuery
from atoll.node.search.settling import settle
from atoll.protocol.ids import peer_id


def further(query: SearchQuery, planned: Plan, heard: Mapping[Question, Heard]) -> tuple[Question, ...]:
    """The owners, at most 32, of what may be nearer than the last place of the list, nearest first; those whose nearest
    is a copy, a hub, or odd last."""
    unasked = _unasked(planned)
    if not unasked:
        return ()
    folded = merge.folded(settle(planned, query, heard).candidates)
    shown = merge.shown(folded, {}, query.limit, query.per_owner)
    last = max(each.most for each in shown) if len(shown) == query.limit else np.inf
    nearest = {question: (late, low) for question, (late, low) in unasked.items() if low <= last}
    return of_first_owners(sorted(nearest, key=lambda question: (nearest[question], question)))


def _unasked(planned: Plan) -> dict[Question, tuple[bool, float]]:
    """Who was not asked about which island: whether the nearest there is doubtful, and its rank at least."""
    asked = set(planned.questions)
    found: dict[Question, tuple[bool, float]] = {}
    for field in planned.fields:
        placed, mmd2 = field.nearest.placed, field.nearest.mmd2
        exact = np.flatnonzero(~placed.noised[field.nearest.places])
        groups, firsts = np.unique(field.groups[exact], return_index=True)  # the first is the nearest
        for group, first in zip(groups.tolist(), exact[firsts].tolist(), strict=True):
            federation, owner = placed.owners[group]
            question = (peer_id(owner), federation, field.island.digest)
            if question not in asked:
                found[question] = (not field.plain[first], field.unit * float(at_least(mmd2[first])))
    return found
