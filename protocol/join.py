"""``/atoll/join/1``: redeem an invite for a membership certificate."""

from __future__ import annotations

import msgspec
from atoll.protocol.messages import Message
from atoll.protocol.signing import Record

PROTOCOL = "/atoll/join/1"


class JoinRequest(Message, frozen=True):
    federation: bytes
    token: bytes
    name: str
    addresses: tuple[str, ...]


class KnownPeer(msgspec.Struct, frozen=True):
    """A peer and where it listens."""

    peer: str
    name: str
    addresses: tuple[str, ...]


class JoinReply(Message, frozen=True):
    """Charter, the new member's certificate, and the members to dial."""

    charter: Record
    certificate: Record
    peers: tuple[KnownPeer, ...]
