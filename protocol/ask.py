"""``/atoll/ask/1``: ask an owner for what its policy grants on request, and see what has become of it."""

from __future__ import annotations

from typing import Literal

import msgspec
from atoll.protocol.messages import Message
from atoll.protocol.policy import Act

PROTOCOL = "/atoll/ask/1"
MAX_WORDS = 500  # characters of a request

State = Literal["open", "closed", "pending", "granted", "denied", "revoked", "expired"]
"""open: needs no request; closed: none is taken; the rest is what has become of one."""


class AskRequest(Message, frozen=True):
    """``acts`` to ask for with ``words`` to the owner's people; no acts: only say how things stand."""

    federation: bytes
    learnware_id: bytes
    acts: tuple[Act, ...] = ()
    words: str = ""
    user: str = ""


class ActState(msgspec.Struct, frozen=True):
    """``until`` is when a grant ends (ms), 0 where there is none."""

    act: Act
    state: State
    until: int = 0


class AskReply(Message, frozen=True):
    """Every act, for the asking node."""

    states: tuple[ActState, ...]
