"""Listings: the signed specification summary of one learnware in one federation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from atoll.engine.errors import AtollError
from atoll.engine.naming import ALIAS
from atoll.engine.semantic import MAX_SUMMARY, SemanticSpec, told_apart
from atoll.engine.specs.noised import DpParameters
from atoll.engine.specs.sketch import BLOCK, SCALE, Sketch
from atoll.protocol import limits
from atoll.protocol.errors import RecordRejected
from atoll.protocol.signing import Record, read, sign, verify
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KIND = "listing"
Audience = Literal["nobody", "ask", "members", "anyone"]
State = Literal["live", "paused"]  # of what counts; paused: listed, and nothing may be done with it for now


class Offers(msgspec.Struct, frozen=True):
    """For whom the owner allows what. Named peers stay at the owner. The default: matched, nothing else."""

    match: Audience = "members"
    disclose: Audience = "nobody"
    predict: Audience = "nobody"
    download: Audience = "nobody"

    @property
    def discloses(self) -> bool:
        """Whether every signed-in user of the federation may have the RKME: else the listing is of a stand-in."""
        return self.disclose in ("members", "anyone")


class Quality(msgspec.Struct, frozen=True):
    """A measured figure, e.g. accuracy on ``rows`` labelled rows."""

    metric: str
    value: float
    rows: int


class SpecSummary(msgspec.Struct, frozen=True):
    """One specification as gossiped: sketch block 0, squared norm, size class, commitment to the full specification.

    Under ``dp`` the sketch is noised, the norm is the sketch's own, and there is nothing more exact anywhere.
    """

    island: bytes
    sketch: bytes
    norm2: float
    count: int  # rows, rounded down to a power of two
    commitment: bytes
    scale: float = SCALE
    dp: DpParameters | None = None

    def to_sketch(self) -> Sketch:
        sigma = self.dp.sigma if self.dp is not None else 0.0
        return Sketch(np.frombuffer(self.sketch, np.int8), self.norm2, self.scale, sigma)


class Listing(msgspec.Struct, frozen=True):
    """What an owner says of one learnware in one federation; ``revision`` is the manifest hash, ``alias`` what it was
    called elsewhere, or ""."""

    owner: bytes
    federation: bytes
    learnware_id: bytes
    revision: bytes
    seq: int
    issued_at: int
    status: State | Literal["withdrawn"]
    semantic: SemanticSpec
    specifications: tuple[SpecSummary, ...] = ()
    offers: Offers = Offers()
    inputs: int = 0
    outputs: int = 0
    class_names: tuple[str, ...] = ()
    quality: Quality | None = None
    version: int = 1
    alias: str = ""

    @property
    def place(self) -> bytes:
        """Where, whose and which: no two that are in force at once have the same."""
        return self.federation + self.owner + self.learnware_id


@dataclass(frozen=True)
class SignedListing:
    """A verified listing beside the record that proves it."""

    listing: Listing
    record: Record


def sign_listing(key: Ed25519PrivateKey, listing: Listing) -> SignedListing:
    """Check and sign one's own listing."""
    check(listing)
    require_told_apart(listing)
    record = sign(key, KIND, listing)
    if len(record.body) > limits.LISTING:
        raise RecordRejected(f"the listing takes {len(record.body)} bytes, at most {limits.LISTING} are allowed")
    return SignedListing(listing, record)


def open_listing(record: Record, *, owner: bytes, federation: bytes) -> SignedListing:
    """A foreign listing, or RecordRejected / SignatureInvalid / EncodingError."""
    verify(record, KIND, owner)
    listing = read(record, Listing, limit=limits.LISTING)
    if (listing.owner, listing.federation) != (owner, federation):
        raise RecordRejected("the listing names another owner or federation")
    check(listing)
    return SignedListing(listing, record)


def check(listing: Listing) -> None:
    """RecordRejected unless every field is within its bounds.

    ``issued_at`` may lie in the future, other than a head's, a decree's or a succession's: it is the owner's word, and
    decides nothing but the order in which people see listings. A log is taken as a whole, so one listing with a wrong
    date would keep all else of its owner away until then, what it withdraws too.
    """
    ids = (listing.owner, listing.federation, listing.learnware_id, listing.revision)
    _require(all(len(id_) == 32 for id_ in ids), "ids have 32 bytes")
    _require(listing.version == 1, f"listing version {listing.version} is not known")
    _require(0 < listing.seq < 2**53 and 0 < listing.issued_at < 2**53, "seq or time out of range")
    _require(len(listing.specifications) <= limits.SPECIFICATIONS, "too many specifications")
    _require(len(listing.semantic.description) <= MAX_SUMMARY, "the description is too long")
    _require(0 <= listing.inputs <= 100_000 and 0 <= listing.outputs <= 100_000, "dimensions out of range")
    names = listing.class_names
    _require(len(names) <= 32 and all(len(name.encode()) <= 40 for name in names), "class names out of bounds")
    _require(not listing.alias or ALIAS.fullmatch(listing.alias) is not None, "the alias is malformed")
    try:
        listing.semantic.check()
    except AtollError as error:
        raise RecordRejected(error.message) from None
    for spec in listing.specifications:
        _check_specification(spec)


def require_told_apart(listing: Listing) -> None:
    """RecordRejected for names of classes that mislead. Not asked of what is here already: once they were let in."""
    fine = listing.status == "withdrawn" or told_apart(listing.class_names)
    _require(fine, "two classes have one name, or one has control characters")


def _check_specification(spec: SpecSummary) -> None:
    _require(len(spec.island) == 32 and len(spec.commitment) == 32, "ids have 32 bytes")
    _require(len(spec.sketch) == BLOCK, f"a sketch has {BLOCK} bytes")
    _require(0.0 <= spec.norm2 <= limits.NORM2_MAX, f"squared norm {spec.norm2:g} is impossible")
    _require(spec.dp is not None or spec.scale == SCALE, "only a noised sketch has a scale of its own")
    _require(spec.dp is None or 0 < spec.dp.sigma <= 1.0, "the noise of a sketch is out of range")
    _require(0 < spec.scale <= 1.0 and 0 < spec.count < 2**53, "scale or count out of range")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise RecordRejected(otherwise)
