"""What leaves the node, in words, told before it does."""

from __future__ import annotations

from collections.abc import Sequence

from atoll.engine.specs.noised import NoisedSketch
from atoll.node.search.query import SearchQuery

NAMED = 8


def leaves(query: SearchQuery, others: Sequence[str]) -> str:
    """What goes to ``others``, the names of whom the search asks beside the own node."""
    if not others:
        return "Nothing leaves this node."
    names = ", ".join(sorted(others)[:NAMED])
    more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
    return f"{_what(query, names + more)}."


def _what(query: SearchQuery, whom: str) -> str:
    given = [each.given for each in query.specifications]
    noised = [each.dp for each in given if isinstance(each, NoisedSketch)]
    if noised:
        epsilon = sum(dp.epsilon for dp in noised)
        noise = f"with noise (differential privacy: epsilon {epsilon:g} in all)"
        return f"A sketch of your data (512 numbers) {noise} goes to {whom}"
    if query.privacy == "sketch":
        return f"A sketch of your data (512 numbers) goes to {whom}; the reduced set stays here"
    points = " and ".join(f"{len(each.rkme.points)} points" for each in query.specifications if each.rkme)
    return f"The reduced set ({points} made from your rows, none of them a row) goes to {whom}"
