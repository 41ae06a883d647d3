"""Decrees: what an admin has decided about a federation, signed and sequenced; they travel like heads.

Each admin has one decree that grows: its newest replaces its older ones, and what is in force is the union over all
admins. So two admins never conflict, and every node comes to the same state in whatever order decrees arrive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import msgspec
from atoll.protocol import limits
from atoll.protocol.errors import RecordRejected
from atoll.protocol.signing import Record, read, sign, verify
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KIND = "decree"
MAX_APPOINTED, MAX_ENTRIES = 16, 900  # at most 45 bytes an entry: below limits.DECREE


class Revocation(msgspec.Struct, frozen=True, array_like=True):
    """Certificates of ``member`` with a serial up to ``until`` are void; a later one makes it a member again."""

    member: bytes
    until: int


class Takedown(msgspec.Struct, frozen=True, array_like=True):
    """One learnware that is not listed in this federation any more, whatever its owner says."""

    owner: bytes
    learnware_id: bytes


class Decree(msgspec.Struct, frozen=True):
    """All that ``admin`` has decided and not taken back."""

    federation: bytes
    admin: bytes
    seq: int
    issued_at: int
    appointed: tuple[bytes, ...] = ()
    revoked: tuple[Revocation, ...] = ()
    takedowns: tuple[Takedown, ...] = ()


@dataclass(frozen=True)
class SignedDecree:
    """A verified decree beside the record that proves it."""

    decree: Decree
    record: Record

    @property
    def position(self) -> tuple[int, bytes]:
        """What orders the decrees of one admin; of two with one seq, everybody keeps the same."""
        return (self.decree.seq, self.record.digest)


@dataclass(frozen=True)
class Authority:
    """Who decides in a federation and what is in force: derived from charter and decrees, never stored."""

    admins: frozenset[bytes]
    founders: frozenset[bytes]  # of those, who may appoint
    heard: frozenset[bytes]  # whoever is or was an admin: their decrees are kept, so that all nodes hold the same
    revoked: Mapping[bytes, int]
    takedowns: frozenset[tuple[bytes, bytes]]

    def void(self, member: bytes, serial: int) -> bool:
        """Whether a certificate with this serial has been revoked."""
        return serial <= self.revoked.get(member, -1)


def sign_decree(key: Ed25519PrivateKey, decree: Decree) -> SignedDecree:
    """Check and sign one's own decree."""
    _check(decree)
    return SignedDecree(decree, sign(key, KIND, decree))


def open_decree(record: Record, *, federation: bytes) -> SignedDecree:
    """A foreign decree whose signature holds; whether its admin may decree is for :func:`authority` to say."""
    decree = read(record, Decree, limit=limits.DECREE)
    if decree.federation != federation:
        raise RecordRejected("the decree is about another federation")
    _check(decree)
    verify(record, KIND, decree.admin)
    return SignedDecree(decree, record)


def authority(
    founders: Iterable[bytes], decrees: Iterable[Decree], heirs: Mapping[bytes, bytes] = MappingProxyType({})
) -> Authority:
    """What charter admins (``founders``) and those they have appointed have decided together.

    Founders cannot be revoked and only they appoint: an appointed admin can neither take over nor multiply. Whoever has
    handed over (``heirs``: old key -> new key) decides nothing any more; what it had decreed stays in force until its
    successor says it anew, so that nobody who was revoked comes back in between.
    """
    given, by_admin = frozenset(founders), {each.admin: each for each in decrees}
    roots = _present(given, heirs)
    of_founders = _spoken(given, by_admin, heirs)
    appointed = {key for decree in of_founders for key in decree.appointed}
    dismissed = {each.member for decree in of_founders for each in decree.revoked}
    lasting = {key for key in appointed if dismissed.isdisjoint(line_of(key, heirs))}
    admins = roots | _present(lasting, heirs)
    revoked: dict[bytes, int] = {}
    takedowns = set()
    for decree in _spoken(given | lasting, by_admin, heirs):
        for each in decree.revoked:
            if each.member not in roots:
                revoked[each.member] = max(each.until, revoked.get(each.member, -1))
        takedowns |= {(each.owner, each.learnware_id) for each in decree.takedowns}
    heard = frozenset(key for each in given | appointed for key in line_of(each, heirs))
    return Authority(admins, roots, heard, revoked, frozenset(takedowns))


def line_of(key: bytes, heirs: Mapping[bytes, bytes]) -> list[bytes]:
    """A key and those that have followed it, one after the other; who goes round in a circle ends where it began."""
    line = [key]
    while line[-1] in heirs and heirs[line[-1]] not in line:
        line.append(heirs[line[-1]])
    return line


def _spoken(keys: Iterable[bytes], by_admin: Mapping[bytes, Decree], heirs: Mapping[bytes, bytes]) -> list[Decree]:
    """The decree of each of those keys that counts: of a line of successors, the last that has decreed anything."""
    lines = [line for line in (line_of(key, heirs) for key in keys) if line[-1] not in heirs]  # round in a circle
    said = [[by_admin[key] for key in line if key in by_admin] for line in lines]
    return [decrees[-1] for decrees in said if decrees]


def _present(keys: Iterable[bytes], heirs: Mapping[bytes, bytes]) -> frozenset[bytes]:
    """Who stands in for those keys today."""
    return frozenset(line_of(key, heirs)[-1] for key in keys) - heirs.keys()


def _check(decree: Decree) -> None:
    ids = [
        decree.federation, decree.admin, *decree.appointed, *(each.member for each in decree.revoked),
        *(part for each in decree.takedowns for part in (each.owner, each.learnware_id)),
    ]  # fmt: skip
    if any(len(id_) != 32 for id_ in ids):
        raise RecordRejected("a decree names malformed ids")
    if len(decree.appointed) > MAX_APPOINTED or len(decree.revoked) + len(decree.takedowns) > MAX_ENTRIES:
        raise RecordRejected("a decree has too many entries")
    if not (0 < decree.seq < 2**53 and 0 < decree.issued_at < 2**53):
        raise RecordRejected("seq or time of a decree is out of range")
    if any(not 0 <= each.until < 2**53 for each in decree.revoked):
        raise RecordRejected("a revocation is out of range")
