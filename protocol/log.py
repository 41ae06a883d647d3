"""The log of one owner in one federation, and the pure rule by which it advances.

A head is applied only together with listings whose root is the one it signs; anything else leaves the log as it
was. So every node that holds a head holds exactly the listings its owner meant. The log knows of a listing what the
rule needs, its line; the signed record is kept where the caller keeps it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from atoll.protocol import limits
from atoll.protocol.errors import LogIncomplete, RecordRejected
from atoll.protocol.heads import SignedHead, check_advance
from atoll.protocol.listings import SignedListing


@dataclass(frozen=True, slots=True)
class Line:
    """A listing as its log knows it: id, seq, SHA-256 of the record's body, and whether it is live or paused."""

    learnware_id: bytes
    seq: int
    digest: bytes
    counted: bool

    @classmethod
    def of(cls, signed: SignedListing) -> Line:
        listing = signed.listing
        return cls(listing.learnware_id, listing.seq, signed.record.digest, listing.status != "withdrawn")


@dataclass(frozen=True)
class OwnerLog:
    """``lines`` by learnware id: the newest of each, withdrawn ones included."""

    head: SignedHead | None = None
    lines: Mapping[bytes, Line] = field(default_factory=dict)

    @property
    def position(self) -> tuple[int, int]:
        """(epoch, seq), (0, 0) for an empty log."""
        return self.head.head.position if self.head else (0, 0)

    def since(self, seq: int) -> list[Line]:
        """Lines with a higher seq, in order."""
        return sorted((line for line in self.lines.values() if line.seq > seq), key=lambda line: line.seq)

    def is_current(self, now: int) -> bool:
        """Whether the head keeps its listings alive."""
        return self.head is not None and now < self.head.head.expires_at


def root_of(lines: Iterable[Line]) -> bytes:
    """Hash over the sorted (learnware_id, listing hash) of live and paused listings."""
    pairs = sorted(line.learnware_id + line.digest for line in lines if line.counted)
    return hashlib.sha256(b"atoll/root/1\0" + b"".join(pairs)).digest()


def advance(log: OwnerLog, head: SignedHead, news: Iterable[Line], now: int) -> OwnerLog:
    """The log after ``head`` with the listings behind ``news``; RecordRejected, ForkDetected or LogIncomplete leave it
    as it was.

    LogIncomplete asks the caller for the whole log: pass ``OwnerLog(log.head)`` with all lines.
    """
    check_advance(head, log.head, now)
    same_epoch = log.head is not None and log.head.head.epoch == head.head.epoch
    merged = dict(log.lines) if same_epoch else {}
    for line in news:
        if line.seq > head.head.seq:
            raise RecordRejected("a listing is newer than its head")
        known = merged.get(line.learnware_id)
        if known is None or line.seq > known.seq:
            merged[line.learnware_id] = line
    counted = sum(line.counted for line in merged.values())
    if len(merged) - counted > limits.WITHDRAWN:
        raise RecordRejected("the log carries too many withdrawn listings: its owner has to begin a new epoch")
    if counted != head.head.count or root_of(merged.values()) != head.head.root:
        raise LogIncomplete(f"{counted} listings do not make the root that the head signs")
    return OwnerLog(head, merged)
