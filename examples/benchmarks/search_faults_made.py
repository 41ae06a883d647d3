"""What is wrong with an owner in the benchmark of search: seconds that it takes, and what it makes of its replies."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from atoll.protocol.match import MatchReply

Lie = Callable[[MatchReply], MatchReply]


def _told(change: Callable[[float], float]) -> Lie:
    def lie(reply: MatchReply) -> MatchReply:
        answers, wanted = (
            tuple(msgspec.structs.replace(each, mmd2=change(each.mmd2)) for each in part)
            for part in (reply.answers, reply.wanted)
        )
        return MatchReply(answers, wanted)

    return lie


FAULTS: dict[str, tuple[float, Lie]] = {
    "slow": (5.0, lambda reply: reply),
    "small lie": (0.0, _told(lambda mmd2: 0.9 * mmd2)),
    "huge lie": (0.0, _told(lambda mmd2: mmd2 + 0.5)),
    "zero": (0.0, _told(lambda mmd2: 0.0)),
}
