"""``/atoll/join/1``: redeem an invite for a membership certificate, and renew it."""

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
    """Charter, the new member's certificate (None: the federation is open), the members to dial, and the decrees that
    say whose certificates count."""

    charter: Record
    certificate: Record | None
    peers: tuple[KnownPeer, ...]
    decrees: tuple[Record, ...] = ()


class RenewRequest(Message, frozen=True):
    """A member asks an admin for a fresh certificate on the terms of its old one."""

    federation: bytes


class RenewReply(Message, frozen=True):
    certificate: Record


Request = JoinRequest | RenewRequest
