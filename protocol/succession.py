"""Successions: a member hands its membership in a federation over to another key.

The old key signs, or the recovery key whose hash stands in the member's certificate (of a founder: in the charter); the
new key signs too. The old key's certificate comes along: it shows that there was a member, and the recovery hash that
an admin has vouched for. Of two successions of one key the one by recovery counts: the other may be a thief's.
(network.md, section 1, puts this into heads. But a PeerId is the key, so a new key is a new owner with a log of its
own, and what has to be handed over is the membership.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from atoll.protocol import limits, lines
from atoll.protocol.errors import ProtocolError, RecordRejected
from atoll.protocol.signing import Record, read, sign, verify
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KIND = "succession"
RECOVERY_PREFIX = "atoll-recovery-1."


class Succession(msgspec.Struct, frozen=True):
    """``owner`` is succeeded by ``successor``; ``recovery`` is the recovery key, if that has signed."""

    federation: bytes
    owner: bytes
    successor: bytes
    issued_at: int
    recovery: bytes | None = None


@dataclass(frozen=True)
class SignedSuccession:
    """Both signatures hold. ``records`` are [body, the old or the recovery key's signature], [body, the new key's], and
    the certificate of the old key, not opened yet."""

    succession: Succession
    records: tuple[Record, Record, Record]

    @property
    def certificate(self) -> Record:
        return self.records[2]

    @property
    def rank(self) -> tuple[bool, bytes]:
        """Of two successions of one key, everybody keeps that of higher rank."""
        return (self.succession.recovery is not None, self.records[0].digest)


def recovery_hash(public: bytes) -> bytes:
    """What certificates and charters say of a recovery key (raw public key)."""
    return hashlib.sha256(b"atoll/recovery/1\0" + public).digest()


def recovery_line(key: Ed25519PrivateKey) -> str:
    """A recovery key as a line of text, to be kept off the machine."""
    return lines.written(RECOVERY_PREFIX, key.private_bytes_raw())


def read_recovery(line: str) -> Ed25519PrivateKey:
    """The key in a pasted line; ProtocolError if it is none."""
    seed = lines.read(RECOVERY_PREFIX, line) or b""
    if not line.strip().startswith(RECOVERY_PREFIX) or len(seed) != 32:
        raise ProtocolError(
            "this is not a whole recovery line", hint=f"it starts with {RECOVERY_PREFIX!r}; `atoll init` has shown it"
        )
    return Ed25519PrivateKey.from_private_bytes(seed)


def sign_succession(
    signer: Ed25519PrivateKey, successor: Ed25519PrivateKey, *, federation: bytes, owner: bytes, certificate: Record,
    now: int,
) -> SignedSuccession:  # fmt: skip
    """Hand ``owner`` over to ``successor``; ``signer`` is the owner's key or its recovery key."""
    by = signer.public_key().public_bytes_raw()
    succession = Succession(
        federation, owner, successor.public_key().public_bytes_raw(), now, None if by == owner else by
    )
    return SignedSuccession(
        succession, (sign(signer, KIND, succession), sign(successor, KIND, succession), certificate)
    )


def open_succession(records: Sequence[Record], *, federation: bytes) -> SignedSuccession:
    """A foreign succession whose signatures hold; whether the key is that of a member, and the recovery key its own, is
    for the roll to say."""
    if len(records) != 3 or records[0].body != records[1].body:
        raise RecordRejected("a succession is one text signed twice, and a certificate")
    succession = read(records[0], Succession, limit=limits.SUCCESSION)
    keys = [succession.owner, succession.successor, *filter(None, [succession.recovery])]
    if succession.federation != federation or any(len(key) != 32 for key in keys):
        raise RecordRejected("the succession is about another federation or names malformed keys")
    if len(set(keys)) != len(keys) or not 0 < succession.issued_at < 2**53:
        raise RecordRejected("a succession is from one key to another, at a time")
    verify(records[0], KIND, succession.recovery or succession.owner)
    verify(records[1], KIND, succession.successor)
    return SignedSuccession(succession, (records[0], records[1], records[2]))
