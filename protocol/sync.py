"""``/atoll/sync/1``: push-pull anti-entropy. Digests -> differing buckets -> "what X has since seq n".

What we lack we pull; what the other lacks we offer, and it pulls in turn. Logs, decrees and fork proofs go the same
way. Everything is verified on arrival, whoever sent it (network.md, section 3).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import IntEnum

import msgspec
from atoll.protocol.errors import ProtocolError
from atoll.protocol.messages import Message
from atoll.protocol.signing import Record

PROTOCOL = "/atoll/sync/1"
BUCKETS = 256
DIGEST = 8
ENTRIES = 2000  # in one message; what does not fit comes with the next round


class Kind(IntEnum):
    """What is replicated, in the order in which it is pulled: a decree may need the succession that makes its author an
    admin, and a log the decree that admits its owner."""

    SUCCESSION = 0
    DECREE = 1
    FORK = 2
    LOG = 3


Key = tuple[Kind, bytes]  # and whose
Position = tuple[int, int, bytes]  # epoch, seq, first bytes of the newest record's hash
Positions = Mapping[Key, Position]


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """Where the ``kind`` of one key stands."""

    kind: Kind
    owner: bytes
    epoch: int
    seq: int
    tag: bytes = b""

    @property
    def key(self) -> Key:
        return (self.kind, self.owner)

    @property
    def position(self) -> Position:
        return (self.epoch, self.seq, self.tag)


class Compare(Message, frozen=True):
    """256 bucket digests, 8 bytes each, in one string."""

    federation: bytes
    digests: bytes


class Different(Message, frozen=True):
    """The answerer's entries in the buckets that differ, and which those are; ``more`` if there were too many."""

    buckets: bytes
    entries: tuple[Entry, ...]
    more: bool = False


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


class PullNotice(Message, frozen=True):
    """Ask for the succession of a key, the decree of an admin, or the proof that an owner has forked."""

    federation: bytes
    kind: Kind
    owner: bytes


class Notice(Message, frozen=True):
    """A succession (three records), a decree (one) or a fork proof (two heads); also gossiped, and told to a member
    that is revoked."""

    federation: bytes
    kind: Kind
    records: tuple[Record, ...]


class Offer(Message, frozen=True):
    """What stands higher here than at the other side."""

    federation: bytes
    entries: tuple[Entry, ...]


class Thanks(Message, frozen=True):
    """The offer was taken note of."""


Request = Compare | Pull | PullNotice | Offer | Notice


def bucket(key: Key, federation: bytes) -> int:
    kind, owner = key
    return hashlib.sha256(bytes([kind]) + owner + federation).digest()[0]


def digests(federation: bytes, positions: Positions) -> bytes:
    """256 * 8 bytes: a digest of the sorted positions in each bucket."""
    hashes = [hashlib.sha256() for _ in range(BUCKETS)]
    for key in sorted(positions):
        epoch, seq, tag = positions[key]
        place = bytes([key[0]]) + key[1] + epoch.to_bytes(8, "big") + seq.to_bytes(8, "big") + tag
        hashes[bucket(key, federation)].update(place)
    return b"".join(each.digest()[:DIGEST] for each in hashes)


def differing(left: bytes, right: bytes) -> frozenset[int]:
    """Buckets whose digests differ; ProtocolError if a digest list has the wrong length."""
    if len(left) != BUCKETS * DIGEST or len(right) != BUCKETS * DIGEST:
        raise ProtocolError(f"a digest list has {BUCKETS * DIGEST} bytes")
    pairs = ((left[i : i + DIGEST], right[i : i + DIGEST]) for i in range(0, len(left), DIGEST))
    return frozenset(place for place, (a, b) in enumerate(pairs) if a != b)


def entries_in(federation: bytes, positions: Positions, buckets: frozenset[int]) -> tuple[Entry, ...]:
    return tuple(_entry(key, positions[key]) for key in sorted(positions) if bucket(key, federation) in buckets)


def _entry(key: Key, position: Position) -> Entry:
    kind, owner = key
    epoch, seq, tag = position
    return Entry(kind, owner, epoch, seq, tag)


def plan(
    federation: bytes, mine: Positions, theirs: tuple[Entry, ...], buckets: frozenset[int]
) -> tuple[list[Entry], list[Entry]]:
    """(what to pull, what to offer): entries that stand higher there, and those that stand higher here.

    Two that stand equal and differ (a fork) are both pulled and offered.
    """
    nothing = (0, 0)
    there = {entry.key: entry.position for entry in theirs}
    pull = [e for e in theirs if e.position[:2] >= mine.get(e.key, nothing)[:2] and e.position != mine.get(e.key)]
    offer = [
        entry
        for entry in entries_in(federation, mine, buckets)
        if entry.position[:2] >= there.get(entry.key, nothing)[:2] and entry.position != there.get(entry.key)
    ]
    return sorted(pull, key=lambda entry: entry.key), offer
