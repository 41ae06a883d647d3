"""Fork proofs: two different heads of one owner with one (epoch, seq), which prove themselves to everybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atoll.protocol.errors import RecordRejected
from atoll.protocol.heads import open_head
from atoll.protocol.signing import Record


@dataclass(frozen=True)
class ForkProof:
    """A verified proof; ``records`` in the order of their bytes, so that equal proofs are equal."""

    owner: bytes
    epoch: int
    seq: int
    records: tuple[Record, Record]


def open_fork(records: Sequence[Record], *, federation: bytes) -> ForkProof:
    """A foreign proof, or RecordRejected / SignatureInvalid / EncodingError if it proves nothing."""
    if len(records) != 2:
        raise RecordRejected("a fork is proven by two heads")
    first, second = sorted(records, key=lambda record: record.body)
    one, other = (open_head(record, federation=federation).head for record in (first, second))
    if one.owner != other.owner or one.position != other.position or first.body == second.body:
        raise RecordRejected("these two heads prove no fork")
    return ForkProof(one.owner, *one.position, (first, second))
