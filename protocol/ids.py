"""Identifiers: a node *is* its Ed25519 public key; hashes are 32 raw bytes on the wire, hex in text."""

from __future__ import annotations

from functools import lru_cache
from typing import NewType

import base58
from atoll.protocol.errors import ProtocolError

PeerId = NewType("PeerId", str)  # base58 text, as libp2p writes it
_PREFIX = b"\x00\x24\x08\x01\x12\x20"  # identity multihash of the protobuf-wrapped Ed25519 key


@lru_cache(maxsize=8192)
def peer_id(public_key: bytes) -> PeerId:
    """The PeerId text of a raw Ed25519 public key."""
    if len(public_key) != 32:
        raise ProtocolError(f"an Ed25519 public key has 32 bytes, not {len(public_key)}")
    return PeerId(base58.b58encode(_PREFIX + public_key).decode())


@lru_cache(maxsize=8192)
def public_key(peer: str) -> bytes:
    """The raw public key inside a PeerId text; ProtocolError for any other kind of PeerId."""
    try:
        raw = base58.b58decode(peer)
    except ValueError:
        raw = b""
    if len(raw) != 38 or not raw.startswith(_PREFIX):
        raise ProtocolError(f"{peer[:64]!r} is not the PeerId of an Ed25519 key")
    return raw[len(_PREFIX) :]


def parse_digest(text: str) -> bytes:
    """32 bytes from 64 hex digits, or ProtocolError."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise ProtocolError(f"{text[:80]!r} is not an id of 64 hex digits")
    return raw
