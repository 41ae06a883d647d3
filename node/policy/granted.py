"""What this node was granted by other owners, as they said last: for all of its signed-in users."""

from __future__ import annotations

from collections import defaultdict

from atoll.node.policy.asked import Asked
from atoll.protocol.policy import Act, Grants


def granted(asked: Asked, now: int) -> Grants:
    """The grants that have not ended. It may wait for a commit: call it in a thread."""
    found: dict[bytes, set[Act]] = defaultdict(set)
    for row in asked.all():
        if row.state_at(now).state == "granted":
            found[row.place].add(row.act)
    return {place: frozenset(acts) for place, acts in found.items()}
