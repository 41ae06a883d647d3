"""Heads: "my log in this federation stands at (epoch, seq), these are its listings, valid until t"."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from atoll.protocol import limits
from atoll.protocol.errors import ForkDetected, RecordRejected
from atoll.protocol.signing import Record, read, sign, verify
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KIND = "head"


class Head(msgspec.Struct, frozen=True):
    """State of one owner's log."""

    owner: bytes
    federation: bytes
    epoch: int
    seq: int
    count: int
    root: bytes
    issued_at: int
    expires_at: int

    @property
    def position(self) -> tuple[int, int]:
        return (self.epoch, self.seq)


@dataclass(frozen=True)
class SignedHead:
    """A verified head beside the record that proves it."""

    head: Head
    record: Record


def sign_head(key: Ed25519PrivateKey, head: Head) -> SignedHead:
    return SignedHead(head, sign(key, KIND, head))


def open_head(record: Record, *, federation: bytes) -> SignedHead:
    """A foreign head whose signature holds, or RecordRejected / SignatureInvalid / EncodingError."""
    head = read(record, Head, limit=limits.HEAD)
    if len(head.owner) != 32 or len(head.root) != 32 or head.federation != federation:
        raise RecordRejected("the head names another federation or malformed ids")
    if not (0 < head.epoch < 2**53 and 0 < head.seq < 2**53 and 0 <= head.count < 2**31):
        raise RecordRejected("epoch, seq or count out of range")
    verify(record, KIND, head.owner)
    return SignedHead(head, record)


def check_advance(new: SignedHead, stored: SignedHead | None, now: int) -> None:
    """Accept iff newer than what is stored, not from the future, not expired, not too long-lived (section 2)."""
    head = new.head
    if head.issued_at > now + limits.CLOCK_SKEW:
        raise RecordRejected("the head is from the future")
    if head.expires_at <= now or head.expires_at - head.issued_at > limits.HEAD_LIFETIME:
        raise RecordRejected("the head has expired or claims too long a life")
    if stored is None or head.position > stored.head.position:
        return
    if head.position == stored.head.position and new.record.body != stored.record.body:
        raise ForkDetected("two different heads with one (epoch, seq)")
    raise RecordRejected("a newer head is known")
