"""``/atoll/hello/1``: versions, clock, and the federations two peers share, without naming any other.

The dialler sends blinded tags of its federations; the listener answers with certificates only for those it
shares; the dialler proves its own. Nobody learns of a federation that it is not itself in.
"""

from __future__ import annotations

import hashlib

from atoll.protocol.messages import Message
from atoll.protocol.signing import Record

PROTOCOL = "/atoll/hello/1"
VERSIONS = (1,)
MAX_FEDERATIONS = 64


class Hello(Message, frozen=True):
    """First message of the dialler; ``tags`` are blinded by both peers' keys and the nonce."""

    versions: tuple[int, ...]
    now: int
    nonce: bytes
    tags: tuple[bytes, ...]
    name: str
    addresses: tuple[str, ...]


class Welcome(Message, frozen=True):
    """The listener's answer: certificates for the shared federations, by tag."""

    now: int
    name: str
    addresses: tuple[str, ...]
    certificates: dict[str, Record]


class Proof(Message, frozen=True):
    """The dialler's certificates for the shared federations, by tag."""

    certificates: dict[str, Record]


class Done(Message, frozen=True):
    """Both sides have checked; ``shared`` counts the federations in common."""

    shared: int


def blinded(federation: bytes, nonce: bytes, dialler: str, listener: str) -> bytes:
    """A tag that tells a federation only to those who know it, and differs for every conversation."""
    return hashlib.sha256(b"atoll/tag/1\0" + federation + nonce + f"{dialler}\0{listener}".encode()).digest()
