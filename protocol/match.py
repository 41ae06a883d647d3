"""``/atoll/match/1``: a query goes to an owner, who ranks its own full RKMEs, or their stand-ins if undisclosed."""

from __future__ import annotations

from atoll.engine.encoding import Array
from atoll.engine.semantic import SemanticQuery
from atoll.engine.specs.rkme import RkmeRecord
from atoll.protocol.messages import Message
from atoll.protocol.policy import Act

PROTOCOL = "/atoll/match/1"
MAX_LIMIT = 200
TOLD_BAND = 0.02  # mmd2 without an RKME is to a stand-in: RMS 0.0005 to 0.003, at most 0.016 was seen


class MatchRequest(Message, frozen=True):
    """``rkme`` in the units of ``island``; ``user`` is a pseudonym per federation beside the asking node."""

    federation: bytes
    island: bytes
    rkme: RkmeRecord
    semantic: SemanticQuery = SemanticQuery()
    limit: int = 50
    user: str = ""


class MatchAnswer(Message, frozen=True):
    """Exact distance of one learnware, its RKME and the salt of its commitment where that is disclosed; where it is
    not, a distance within TOLD_BAND, to three digits. ``norm2`` is never more than the listing says then. ``may`` is
    what the asker may do with it."""

    learnware_id: bytes
    revision: bytes
    mmd2: float
    norm2: float
    rkme: RkmeRecord | None = None
    salt: bytes | None = None
    long_sketch: Array | None = None
    may: tuple[Act, ...] = ()


class MatchReply(Message, frozen=True):
    answers: tuple[MatchAnswer, ...]
