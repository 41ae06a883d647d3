"""Federations: a charter names the admin keys, a certificate makes a member, an invite lets one in once."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from atoll.engine.encoding import pack, unpack
from atoll.engine.errors import EncodingError
from atoll.protocol import limits, lines
from atoll.protocol.errors import InviteInvalid, NotMember, ProtocolError
from atoll.protocol.signing import Record, read, sign, verify
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

INVITE_PREFIX = "atoll-invite-1."
TOKEN_BYTES = 16  # of an invite that somebody is named by


class Charter(msgspec.Struct, frozen=True):
    """The founding record of a federation; its hash is the federation id. ``recovery`` are hashes of the recovery keys
    of the founders, in their order, or nothing."""

    name: str
    admins: tuple[bytes, ...]
    created_at: int
    open: bool = False
    recovery: tuple[bytes, ...] = ()

    def recovery_of(self, founder: bytes) -> bytes | None:
        """The hash of a founder's recovery key, if it has named one."""
        return dict(zip(self.admins, self.recovery, strict=False)).get(founder)


class Certificate(msgspec.Struct, frozen=True):
    """Membership of one key in one federation. ``recovery`` is the hash of the member's recovery key; ``succeeds`` is
    the key that this one was handed the membership by (protocol.succession)."""

    federation: bytes
    member: bytes
    name: str
    not_before: int
    expires_at: int
    serial: int
    roles: tuple[str, ...] = ("member",)
    max_listings: int = 10_000
    recovery: bytes | None = None
    succeeds: bytes | None = None


class Invite(msgspec.Struct, frozen=True):
    """What an invitation line carries: where to knock and the single-use token (empty for an open federation)."""

    federation: bytes
    federation_name: str
    token: bytes
    addresses: tuple[str, ...]
    expires_at: int

    def line(self) -> str:
        """One line of text, safe to paste."""
        return lines.written(INVITE_PREFIX, pack(self))


def read_invite(line: str) -> Invite:
    """The invite in a pasted line; InviteInvalid if it is not one."""
    text = line.strip()
    if not text.startswith(INVITE_PREFIX):
        raise InviteInvalid("this is not an invite line", hint=f"it starts with {INVITE_PREFIX!r}")
    try:
        invite = unpack(lines.read(INVITE_PREFIX, text) or b"", Invite, limit=4096)
    except EncodingError:
        raise InviteInvalid("the invite line is damaged", hint="copy the whole line") from None
    if len(invite.federation) != 32 or len(invite.token) not in (0, TOKEN_BYTES):
        raise InviteInvalid("the invite line is damaged", hint="copy the whole line")
    return invite


def found(key: Ed25519PrivateKey, charter: Charter) -> Record:
    """Sign a charter with one of its admin keys."""
    return sign(key, "charter", charter)


def open_charter(record: Record) -> Charter:
    """A charter signed by its first admin, or an error of the tree."""
    charter = read(record, Charter, limit=limits.CERTIFICATE)
    admins = charter.admins
    if not 1 <= len(admins) <= 16 or any(len(admin) != 32 for admin in admins) or not 1 <= len(charter.name) <= 80:
        raise ProtocolError("the charter is malformed")
    if len(charter.recovery) not in (0, len(admins)) or any(len(each) != 32 for each in charter.recovery):
        raise ProtocolError("the recovery keys of the charter are malformed")
    verify(record, "charter", admins[0])
    return charter


def certify(key: Ed25519PrivateKey, certificate: Certificate) -> Record:
    return sign(key, "certificate", certificate)


def grant(
    key: Ed25519PrivateKey, federation: bytes, member: bytes, name: str, now: int, *, roles: tuple[str, ...],
    max_listings: int, recovery: bytes | None = None, succeeds: bytes | None = None,
) -> Record:  # fmt: skip
    """A certificate in force from ``now`` for as long as one may be; the time is its serial."""
    certificate = Certificate(
        federation, member, name[: limits.NAME], now, now + limits.CERTIFICATE_LIFETIME, serial=now, roles=roles,
        max_listings=max_listings, recovery=recovery, succeeds=succeeds,
    )  # fmt: skip
    return certify(key, certificate)


def open_certificate(
    record: Record, *, federation: bytes, charter: Charter, admins: Iterable[bytes], member: bytes, now: int
) -> Certificate:
    """The certificate of ``member``; NotMember unless one of ``admins`` signed it and it is in force.

    In an open federation everybody may certify itself, as a plain member with a small quota.
    """
    certificate = read(record, Certificate, limit=limits.CERTIFICATE)
    if (certificate.federation, certificate.member) != (federation, member):
        raise NotMember("the certificate is for another member or federation")
    if not certificate.not_before - limits.CLOCK_SKEW <= now < certificate.expires_at:
        raise NotMember("the certificate is not in force", hint="renew the membership")
    if certificate.expires_at - certificate.not_before > limits.CERTIFICATE_LIFETIME:
        raise NotMember("the certificate claims too long a life")
    if not (0 <= certificate.serial < 2**53 and 0 <= certificate.max_listings <= limits.LISTINGS):
        raise NotMember("serial or quota of the certificate is out of range")
    if any(key is not None and len(key) != 32 for key in (certificate.recovery, certificate.succeeds)):
        raise NotMember("keys that the certificate names are malformed")
    plain = certificate.roles == ("member",) and certificate.max_listings <= limits.OPEN_LISTINGS
    for signer in (*sorted(admins), *((member,) if charter.open and plain else ())):
        try:
            verify(record, "certificate", signer)
        except ProtocolError:
            continue
        return certificate
    raise NotMember("no admin of the federation signed this certificate")
