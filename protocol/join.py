"""``/atoll/join/1``: redeem an invite for a membership certificate, renew it, go on with a new key."""

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
    recovery: bytes | None = None  # hash of the newcomer's recovery key


class KnownPeer(msgspec.Struct, frozen=True):
    """A peer and where it listens."""

    peer: str
    name: str
    addresses: tuple[str, ...]


class JoinReply(Message, frozen=True):
    """Charter, the new member's certificate (None: the federation is open), the members to dial, and the decrees that
    say whose certificates count, behind the successions that say whose decrees do."""

    charter: Record
    certificate: Record | None
    peers: tuple[KnownPeer, ...]
    decrees: tuple[Record, ...] = ()
    successions: tuple[tuple[Record, ...], ...] = ()


class RenewRequest(Message, frozen=True):
    """A member asks an admin for a fresh certificate on the terms of its old one. ``recovery`` is the hash of its
    recovery key, for a certificate that names none yet."""

    federation: bytes
    recovery: bytes | None = None


class SucceedRequest(Message, frozen=True):
    """Somebody shows that it has been handed a membership: an admin gives it a certificate, others take note."""

    federation: bytes
    succession: tuple[Record, ...]
    recovery: bytes | None = None


class RenewReply(Message, frozen=True):
    certificate: Record


class SucceedReply(Message, frozen=True):
    """``certificate`` is None of whoever is no admin, or has no certificate to give to one."""

    certificate: Record | None


Request = JoinRequest | RenewRequest | SucceedRequest
