"""What every table of the store holds: the type of its rows, and the key that a row belongs under.

Nothing of a running node needs this in one place; it is for reading a store from outside, to see whether it is whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

from atoll.engine.encoding import pack, unpack
from atoll.engine.errors import IntegrityError
from atoll.engine.islands import Island
from atoll.engine.specs.rkme import Rkme, RkmeRecord
from atoll.node.acceptance.submissions import SubmissionRow
from atoll.node.administration import InviteRow
from atoll.node.policy.asked import AskedRow
from atoll.node.policy.requests import RequestRow
from atoll.node.store.audit import AuditRow
from atoll.node.store.catalogue import ForkRow
from atoll.node.store.code import CodeRow
from atoll.node.store.dock import DockRow
from atoll.node.store.downloads import DownloadRow
from atoll.node.store.environment import MAX_VALUE
from atoll.node.store.federations import FederationRow, SuccessionRow
from atoll.node.store.ledger import LedgerRow
from atoll.node.store.peers import PeerRow, RuleRow, rule_key
from atoll.node.store.sightings import Sighting
from atoll.node.store.tokens import TokenRow
from atoll.protocol import limits
from atoll.protocol.decrees import open_decree
from atoll.protocol.forks import open_fork
from atoll.protocol.heads import open_head
from atoll.protocol.listings import open_listing
from atoll.protocol.membership import Certificate, open_charter
from atoll.protocol.policy import Policy
from atoll.protocol.signing import Record, read
from atoll.protocol.succession import open_succession


class Rows(NamedTuple):
    """``place`` gives the key that a row belongs under, after checking what the row lets one check (signatures)."""

    type_: Any
    place: Callable[[bytes, Any], bytes]


def decode(table: str, raw: bytes) -> object:
    """A row with its type; EncodingError if it is not one."""
    return unpack(raw, ROWS[table].type_, limit=MAX_VALUE)


def check(table: str, key: bytes, row: object) -> None:
    """What can be said of a row beyond its type: an error of the tree unless it holds."""
    if ROWS[table].place(key, row) != key:
        raise IntegrityError("the row does not belong under its key")


def blobs_of(row: object) -> tuple[bytes, ...]:
    """The blobs that a row names, and that have to be there."""
    return row.blobs if isinstance(row, DockRow) else ()


def cached_by(row: object) -> tuple[bytes, ...]:
    """The blobs that a row names and that can be fetched again: they are in no backup, and may be missing."""
    return row.blobs if isinstance(row, DownloadRow) else ()


def _head(key: bytes, row: Record) -> bytes:
    head = open_head(row, federation=key[:32]).head
    return head.federation + head.owner


def _listing(key: bytes, row: Record) -> bytes:
    return open_listing(row, owner=key[32:64], federation=key[:32]).listing.place


def _federation(key: bytes, row: FederationRow) -> bytes:
    open_charter(row.charter)
    return row.charter.digest


def _member(key: bytes, row: Record) -> bytes:
    certificate = read(row, Certificate, limit=limits.CERTIFICATE)
    return certificate.federation + certificate.member


def _decree(key: bytes, row: Record) -> bytes:
    decree = open_decree(row, federation=key[:32]).decree
    return decree.federation + decree.admin


def _succession(key: bytes, row: SuccessionRow) -> bytes:
    return key[:32] + open_succession(row.records, federation=key[:32]).succession.owner


def _fork(key: bytes, row: ForkRow) -> bytes:
    return key[:32] + open_fork(row.records, federation=key[:32]).owner


def _token(key: bytes, row: TokenRow) -> bytes:
    return key if key.hex().startswith(row.id) else b""


def _invite(key: bytes, row: InviteRow) -> bytes:
    return key if len(key) == hashlib.sha256().digest_size else b""  # a token is shorter, and must not be there


def _stand_in(key: bytes, row: RkmeRecord) -> bytes:
    Rkme.from_record(row)
    return key


def _anywhere(key: bytes, row: object) -> bytes:
    return key


ROWS = {
    "heads": Rows(Record, _head),
    "listings": Rows(Record, _listing),
    "forks": Rows(ForkRow, _fork),
    "decrees": Rows(Record, _decree),
    "successions": Rows(SuccessionRow, _succession),
    "sightings": Rows(Sighting, _anywhere),
    "islands": Rows(bytes, lambda key, row: Island.from_definition(row).digest),
    "dock": Rows(DockRow, lambda key, row: row.learnware_id),
    "federations": Rows(FederationRow, _federation),
    "members": Rows(Record, _member),
    "invites": Rows(InviteRow, _invite),
    "peers": Rows(PeerRow, lambda key, row: row.peer.encode()),
    "peer_rules": Rows(RuleRow, lambda key, row: rule_key(row.kind, row.peer)),
    "tokens": Rows(TokenRow, _token),
    "downloads": Rows(DownloadRow, _anywhere),
    "privacy": Rows(LedgerRow, lambda key, row: hashlib.sha256(pack(row.spending)).digest()),
    "policies": Rows(Policy, _anywhere),
    "requests": Rows(RequestRow, lambda key, row: row.key),
    "asked": Rows(AskedRow, lambda key, row: row.key),
    "usage": Rows(int, _anywhere),
    "submissions": Rows(SubmissionRow, lambda key, row: row.key),
    "admitted_code": Rows(CodeRow, lambda key, row: row.key),
    "stand_ins": Rows(RkmeRecord, _stand_in),
    "audit": Rows(AuditRow, lambda key, row: row.seq.to_bytes(8, "big")),
}
"""Every table but "meta", whose rows are numbers as text; a test compares it with the environment's."""
