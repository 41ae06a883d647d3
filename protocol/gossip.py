"""Gossip: batches of listings and a head, or a notice, as a hint. What does not fit is left to anti-entropy."""

from __future__ import annotations

from atoll.protocol.messages import Message
from atoll.protocol.signing import Record
from atoll.protocol.sync import Notice


class Announcement(Message, frozen=True):
    """News of one owner's log: its newest head, the listings behind it, and the owner's membership."""

    federation: bytes
    head: Record
    certificate: Record
    listings: tuple[Record, ...]


News = Announcement | Notice
