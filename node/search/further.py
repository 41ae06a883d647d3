"""Whom else to ask, once those have answered who were asked first: where there are many owners, what those hold who
were not among the first may still belong into the list, as far as sketches tell."""

from __future__ import annotations

import numpy as np
from atoll.engine.matching import at_least
from atoll.node.search import merge
from atoll.node.search.plan import MAX_OWNERS, Plan, Question, rank
from atoll.node.search.query import SearchQuery
from atoll.node.search.settling import Settled
from atoll.protocol.ids import peer_id


def further(query: SearchQuery, planned: Plan, settled: Settled) -> tuple[Question, ...]:
    """The owners, at most 32, of what may be nearer than the last place of the list, nearest first; those whose nearest
    is a copy, a hub, or odd last."""
    matchable = [each for each in settled.candidates if "match" in each.may]
    shown = merge.shown(merge.fold(rank(matchable), matchable), {}, query.limit)
    last = max(each.most for each in shown) if len(shown) == query.limit else np.inf
    asked, nearest = set(planned.questions), {}
    for field in planned.fields:
        found = field.nearest
        plain = np.flatnonzero(~found.placed.noised[found.places])
        groups, firsts = np.unique(field.groups[plain], return_index=True)  # the first is the nearest
        least = field.unit * at_least(found.mmd2[plain][firsts])
        doubtful = ~field.plain[plain][firsts]
        for group, low, late in zip(groups.tolist(), least.tolist(), doubtful.tolist(), strict=True):
            federation, owner = found.placed.owners[group]
            question = (peer_id(owner), federation, field.island.digest)
            if low <= last and question not in asked:
                nearest[question] = (late, low)
    ordered = sorted(nearest, key=lambda question: (nearest[question], question))
    owners = list(dict.fromkeys(question[0] for question in ordered))[:MAX_OWNERS]
    return tuple(question for question in ordered if question[0] in owners)
