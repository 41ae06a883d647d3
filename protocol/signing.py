"""Signed records: the body is kept, hashed and relayed as received and never re-encoded."""

from __future__ import annotations

import hashlib
from typing import TypeVar

import msgspec
from atoll.engine.encoding import pack, unpack
from atoll.protocol.errors import SignatureInvalid
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

T = TypeVar("T")


class Record(msgspec.Struct, frozen=True, array_like=True):
    """``[body, signature]``: the signature covers a domain string and the body."""

    body: bytes
    signature: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 of the body."""
        return hashlib.sha256(self.body).digest()


def domain(kind: str) -> bytes:
    """The domain string of a record kind, so that a signature on one kind never fits another."""
    return f"atoll/{kind}/1\0".encode()


def sign(key: Ed25519PrivateKey, kind: str, value: msgspec.Struct) -> Record:
    """Encode and sign ``value``."""
    body = pack(value)
    return Record(body, key.sign(domain(kind) + body))


def verify(record: Record, kind: str, signer: bytes) -> None:
    """SignatureInvalid unless ``signer`` (raw public key) signed this record as a ``kind``."""
    try:
        Ed25519PublicKey.from_public_bytes(signer).verify(record.signature, domain(kind) + record.body)
    except (InvalidSignature, ValueError):
        raise SignatureInvalid(f"the signature of this {kind} does not hold") from None


def read(record: Record, type_: type[T], *, limit: int) -> T:
    """The typed body, unverified; EncodingError if it is malformed or too long."""
    return unpack(record.body, type_, limit=limit)
