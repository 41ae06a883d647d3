"""What leaves the node, in words, told before it does."""

from __future__ import annotations

from collections.abc import Sequence

from atoll.engine.specs.noised import NoisedSketch
from atoll.node.language import gettext, ngettext
from atoll.node.search.query import SearchQuery

NAMED = 8


def leaves(query: SearchQuery, others: Sequence[str]) -> str:
    """What goes to ``others``, the names of whom the search asks beside the own node; in the language in force."""
    if not others:
        return gettext("Nothing leaves this node.")
    names = gettext(", ").join(sorted(others)[:NAMED])
    if len(others) > NAMED:
        more = ngettext("{names} and {count} more", "{names} and {count} more", len(others) - NAMED)
        names = more.format(names=names, count=len(others) - NAMED)
    return _told(query, names)


def _told(query: SearchQuery, whom: str) -> str:
    given = [each.given for each in query.specifications]
    noised = [each.dp for each in given if isinstance(each, NoisedSketch)]
    if noised:
        epsilon = f"{sum(dp.epsilon for dp in noised):g}"
        return gettext(
            "A sketch of your data (512 numbers) with noise (differential privacy: epsilon {epsilon} in all) goes to "
            "{whom}."
        ).format(epsilon=epsilon, whom=whom)
    if query.privacy == "sketch":
        return gettext(
            "A sketch of your data (512 numbers) goes to {whom}; the reduced set stays here."
        ).format(whom=whom)  # fmt: skip
    counts = [len(each.rkme.points) for each in query.specifications if each.rkme]
    points = gettext(" and ").join(gettext("{count} points").format(count=count) for count in counts)
    return gettext(
        "The reduced set ({points} made from your rows, none of them a row) goes to {whom}."
    ).format(points=points, whom=whom)  # fmt: skip
