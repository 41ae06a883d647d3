"""Whether the first places of a ranking are certain: what was not measured exactly, be it that its owner was not asked
or did not answer, can neither come in there nor change their order, given what sketches err by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from atoll.node.search.plan import Candidate


def certain(ranked: Sequence[Candidate], everybody: Iterable[Candidate], beyond: float, places: int) -> bool:
    """``ranked`` is the ranking, of which the first ``places`` are meant; ``everybody`` are all candidates in all
    islands, also those that are not ranked since their owner has not said that the user may match them. Whatever is no
    candidate is no nearer than ``beyond``."""
    least: dict[tuple[bytes, bytes], float] = {}
    most: dict[tuple[bytes, bytes], float] = {}
    for each in everybody:
        least[each.key] = min(each.least, least.get(each.key, np.inf))
        most[each.key] = min(each.most, most.get(each.key, np.inf))
    first = {each.key for each in ranked}
    outside = min((value for key, value in least.items() if key not in first), default=np.inf)
    lows = np.array([*(least[each.key] for each in ranked), min(outside, beyond), np.inf])
    after = np.minimum.accumulate(lows[::-1])[::-1][1:]  # the least of all that come later
    highs = np.array([most[each.key] for each in ranked[:places]])
    return bool((highs <= after[: len(highs)]).all())


def contends(candidate: Candidate) -> bool:
    """Whether a candidate may be one that this user can match: ranked, or its owner has not said no."""
    return "match" in candidate.may or (candidate.estimated and not candidate.declined)
