"""The log of one owner in one federation, and the pure rule by which it advances.

A head is applied only together with listings whose root is the one it signs; anything else leaves the log as it
was. So every node that holds a head holds exactly the listings its owner meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from atoll.protocol.errors import LogIncomplete, RecordRejected
from atoll.protocol.heads import SignedHead, check_advance, root_of
from atoll.protocol.listings import SignedListing


@dataclass(frozen=True)
class OwnerLog:
    """``listings`` by learnware id: the newest of each, withdrawn ones included."""

    head: SignedHead | None = None
    listings: Mapping[bytes, SignedListing] = field(default_factory=dict)

    @property
    def position(self) -> tuple[int, int]:
        """(epoch, seq), (0, 0) for an empty log."""
        return self.head.head.position if self.head else (0, 0)

    def since(self, seq: int) -> list[SignedListing]:
        """Listings with a higher seq, in order."""
        newer = [signed for signed in self.listings.values() if signed.listing.seq > seq]
        return sorted(newer, key=lambda signed: signed.listing.seq)

    def is_current(self, now: int) -> bool:
        """Whether the head keeps its listings alive."""
        return self.head is not None and now < self.head.head.expires_at


def advance(log: OwnerLog, head: SignedHead, listings: Iterable[SignedListing], now: int) -> OwnerLog:
    """The log after ``head`` with ``listings``; RecordRejected, ForkDetected or LogIncomplete leave it as it was.

    LogIncomplete asks the caller for the whole log: pass an empty ``OwnerLog(head=log.head)`` with all listings.
    """
    check_advance(head, log.head, now)
    same_epoch = log.head is not None and log.head.head.epoch == head.head.epoch
    merged = dict(log.listings) if same_epoch else {}
    for signed in listings:
        listing = signed.listing
        if listing.seq > head.head.seq:
            raise RecordRejected("a listing is newer than its head")
        known = merged.get(listing.learnware_id)
        if known is None or listing.seq > known.listing.seq:
            merged[listing.learnware_id] = signed
    alive = sum(signed.listing.status != "withdrawn" for signed in merged.values())
    if alive != head.head.count or root_of(merged.values()) != head.head.root:
        raise LogIncomplete(f"{alive} listings do not make the root that the head signs")
    return OwnerLog(head, merged)
