"""``/atoll/sync/1``: push-pull anti-entropy. Digests -> differing buckets -> "listings of X since seq n".

What we lack we pull; what the other lacks we offer, and it pulls in turn. Everything is verified on arrival,
whoever sent it (network.md, section 3).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec
from atoll.protocol.errors import ProtocolError
from atoll.protocol.messages import Message
from atoll.protocol.signing import Record

PROTOCOL = "/atoll/sync/1"
BUCKETS = 256
DIGEST = 8
Positions = Mapping[bytes, tuple[int, int]]  # owner -> (epoch, seq)


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """Where one owner's log stands."""

    owner: bytes
    epoch: int
    seq: int


class Compare(Message, frozen=True):
    """256 bucket digests, 8 bytes each, in one string."""

    federation: bytes
    digests: bytes


class Different(Message, frozen=True):
    """The answerer's entries in the buckets that differ, and which those are."""

    buckets: bytes
    entries: tuple[Entry, ...]


class Pull(Message, frozen=True):
    """Ask for the listings of ``owner`` with a seq above ``since``; 0 for all."""

    federation: bytes
    owner: bytes
    since: int


class Page(Message, frozen=True):
    """At most SYNC_PAGE listings in order of seq; ``more`` if there are others. Head and certificate come with each."""

    listings: tuple[Record, ...]
    head: Record
    certificate: Record
    more: bool


class Offer(Message, frozen=True):
    """Logs that stand higher here than at the other side."""

    federation: bytes
    entries: tuple[Entry, ...]


class Thanks(Message, frozen=True):
    """The offer was taken note of."""


Request = Compare | Pull | Offer


def bucket(owner: bytes, federation: bytes) -> int:
    return hashlib.sha256(owner + federation).digest()[0]


def digests(federation: bytes, positions: Positions) -> bytes:
    """256 * 8 bytes: a digest of the sorted positions in each bucket."""
    hashes = [hashlib.sha256() for _ in range(BUCKETS)]
    for owner in sorted(positions):
        epoch, seq = positions[owner]
        hashes[bucket(owner, federation)].update(owner + epoch.to_bytes(8, "big") + seq.to_bytes(8, "big"))
    return b"".join(each.digest()[:DIGEST] for each in hashes)


def differing(left: bytes, right: bytes) -> frozenset[int]:
    """Buckets whose digests differ; ProtocolError if a digest list has the wrong length."""
    if len(left) != BUCKETS * DIGEST or len(right) != BUCKETS * DIGEST:
        raise ProtocolError(f"a digest list has {BUCKETS * DIGEST} bytes")
    pairs = ((left[i : i + DIGEST], right[i : i + DIGEST]) for i in range(0, len(left), DIGEST))
    return frozenset(place for place, (a, b) in enumerate(pairs) if a != b)


def entries_in(federation: bytes, positions: Positions, buckets: frozenset[int]) -> tuple[Entry, ...]:
    chosen = (owner for owner in sorted(positions) if bucket(owner, federation) in buckets)
    return tuple(Entry(owner, *positions[owner]) for owner in chosen)


def plan(
    federation: bytes, mine: Positions, theirs: tuple[Entry, ...], buckets: frozenset[int]
) -> tuple[list[Entry], list[Entry]]:
    """(what to pull, what to offer): entries that stand higher there, and those that stand higher here."""
    there = {entry.owner: (entry.epoch, entry.seq) for entry in theirs}
    pull = [entry for entry in theirs if (entry.epoch, entry.seq) > mine.get(entry.owner, (0, 0))]
    offer = [
        entry
        for entry in entries_in(federation, mine, buckets)
        if (entry.epoch, entry.seq) > there.get(entry.owner, (0, 0))
    ]
    return pull, offer
