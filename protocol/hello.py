"""``/atoll/hello/1``: versions, clock, and the federations two peers share, without naming any other.

The dialler sends blinded tags of its federations; the listener answers, for those it knows, with tags that only
who knows the federation can make. The dialler shows its certificates for them, and the listener its own for those in
which it finds the dialler to be a member. Nobody learns of a federation whose id it does not know, and who knows the
id and is no member is shown nothing by a node that it calls.
"""

from __future__ import annotations

import hashlib

from atoll.protocol.messages import Message
from atoll.protocol.signing import Record

PROTOCOL = "/atoll/hello/1"
VERSIONS = (1,)
MAX_FEDERATIONS = 64


class Hello(Message, frozen=True):
    """First message of the dialler; ``tags`` (``hello_tag``) are of its federations."""

    versions: tuple[int, ...]
    now: int
    nonce: bytes
    tags: tuple[bytes, ...]
    name: str
    addresses: tuple[str, ...]


class Welcome(Message, frozen=True):
    """The listener's answer; ``tags`` (``welcome_tag``) are of those federations of the dialler that it knows."""

    now: int
    name: str
    addresses: tuple[str, ...]
    tags: tuple[bytes, ...]


class Proof(Message, frozen=True):
    """The dialler's certificates for the federations of the welcome, by ``welcome_tag`` in hex."""

    certificates: dict[str, Record]


class Done(Message, frozen=True):
    """The listener's certificates for the federations in which it finds the dialler to be a member, by the same."""

    certificates: dict[str, Record]


def hello_tag(federation: bytes, nonce: bytes, dialler: str, listener: str) -> bytes:
    """A tag that tells a federation only to those who know it, and differs for every conversation."""
    return _blinded(b"atoll/tag/1\0", federation, nonce, dialler, listener)


def welcome_tag(federation: bytes, nonce: bytes, dialler: str, listener: str) -> bytes:
    """The answer to ``hello_tag``: shows that the listener knows the federation, and cannot be had from that tag."""
    return _blinded(b"atoll/welcome/1\0", federation, nonce, dialler, listener)


def _blinded(domain: bytes, federation: bytes, nonce: bytes, dialler: str, listener: str) -> bytes:
    return hashlib.sha256(domain + federation + nonce + f"{dialler}\0{listener}".encode()).digest()
