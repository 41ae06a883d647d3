"""Reading the logs back at the start: verified before they were written, so signatures are not checked again."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
from atoll.node.store.environment import Table, Transaction
from atoll.protocol.heads import Head, SignedHead
from atoll.protocol.listings import Listing
from atoll.protocol.log import Line, OwnerLog
from atoll.protocol.signing import Record


def logs_of(
    txn: Transaction, heads: Table[Record], listings: Table[Record], federation: bytes, keep: Callable[[Listing], None]
) -> dict[bytes, OwnerLog]:
    """The log of every owner in a federation; ``keep`` is called with each listing that counts."""
    lines = _lines(txn, listings, federation, keep)
    return {
        key[32:]: OwnerLog(SignedHead(msgspec.msgpack.decode(record.body, type=Head), record), lines.get(key[32:], {}))
        for key, record in heads.scan(txn, federation)
    }


def _lines(
    txn: Transaction, listings: Table[Record], federation: bytes, keep: Callable[[Listing], None]
) -> dict[bytes, dict[bytes, Line]]:
    lines: dict[bytes, dict[bytes, Line]] = {}
    records, bodies = msgspec.msgpack.Decoder(Record), msgspec.msgpack.Decoder(Listing)
    for _, row in listings.undecoded(txn, federation):
        record = records.decode(row)
        listing = bodies.decode(record.body)
        counted = listing.status != "withdrawn"
        id_ = listing.learnware_id
        lines.setdefault(listing.owner, {})[id_] = Line(id_, listing.seq, record.digest, counted)
        if counted:
            keep(listing)
    return lines


@contextmanager
def no_collection() -> Iterator[None]:
    """Of millions of objects that all stay: looking for garbage among them takes as long as making them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def set_aside() -> None:
    """What has been loaded stays: the collector need not look through it ever again, which of 10 000 listings takes
    90 ms in whatever thread it comes up, and holds all others."""
    gc.unfreeze()  # what was set aside before, by a node that has ended
    gc.collect()
    gc.freeze()
