"""The roll of a federation: its charter, its admins' decrees, the certificates of its members.

Holds no key, no clock and no store: it takes what arrives, verifies it, and says what is true. The same decrees and
certificates in any order make the same roll.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from atoll.protocol import limits
from atoll.protocol.decrees import Authority, SignedDecree, authority, open_decree
from atoll.protocol.errors import NotMember, RecordRejected
from atoll.protocol.membership import Certificate, Charter, open_certificate
from atoll.protocol.signing import Record


class Roll:
    """Who is in a federation and who decides. Not thread-safe: its holder locks."""

    def __init__(self, federation: bytes, charter: Charter) -> None:
        self.federation = federation
        self.charter = charter
        self.authority: Authority = authority(charter.admins, ())
        self._decrees: dict[bytes, SignedDecree] = {}
        self._certificates: dict[bytes, tuple[Certificate, Record]] = {}

    @property
    def decrees(self) -> Mapping[bytes, SignedDecree]:
        """By admin."""
        return MappingProxyType(self._decrees)

    def take_decree(self, record: Record, now: int) -> SignedDecree | None:
        """Take a decree in; None if it is not news. RecordRejected and its kin for what does not count.

        The decree of somebody who is no admin (yet) is refused: it comes again with the next round, when the decree
        that appoints its author may have come.
        """
        signed = open_decree(record, federation=self.federation)
        known = self._decrees.get(signed.decree.admin)
        if known is not None and signed.position <= known.position:
            return None
        if signed.decree.issued_at > now + limits.CLOCK_SKEW:
            raise RecordRejected("the decree is from the future")
        if signed.decree.admin not in self.authority.heard:
            raise NotMember("the decree is not by an admin of the federation")
        self._decrees[signed.decree.admin] = signed
        self.authority = authority(self.charter.admins, (each.decree for each in self._decrees.values()))
        return signed

    @contextmanager
    def undone_on_error(self) -> Iterator[None]:
        """Decrees taken within have not been taken if an error leaves the block."""
        decrees, authority_ = dict(self._decrees), self.authority
        try:
            yield
        except BaseException:
            self._decrees, self.authority = decrees, authority_
            raise

    def admit(self, member: bytes, record: Record, now: int) -> tuple[Certificate, bool]:
        """(certificate, whether it is news) of a member; NotMember unless it is in force."""
        known = self._certificates.get(member)
        if known is not None and known[1] == record:
            self.check(known[0], now)
            return known[0], False
        certificate = open_certificate(
            record, federation=self.federation, charter=self.charter, admins=self.authority.admins, member=member,
            now=now,
        )  # fmt: skip
        self.check(certificate, now)
        if known is not None and certificate.serial < known[0].serial:
            return certificate, False
        self._certificates[member] = (certificate, record)
        return certificate, True

    def check(self, certificate: Certificate, now: int) -> None:
        """NotMember if a certificate that was taken in has expired or been revoked since."""
        if now >= certificate.expires_at:
            raise NotMember("the certificate has expired", hint="renew the membership")
        if self.authority.void(certificate.member, certificate.serial):
            raise NotMember("the membership has been revoked")

    def remember(self, certificate: Certificate, record: Record) -> None:
        """Put back what was verified before it was stored."""
        self._certificates[certificate.member] = (certificate, record)

    def certificate(self, member: bytes) -> tuple[Certificate, Record] | None:
        """The newest certificate seen of a member, in force or not."""
        return self._certificates.get(member)

    def standing(self, member: bytes, now: int) -> bool:
        """Whether a certificate in force is known of ``member``."""
        known = self._certificates.get(member)
        return known is not None and now < known[0].expires_at and not self.authority.void(member, known[0].serial)

    def barred(self, member: bytes) -> bool:
        """Whether a member has been revoked, and no certificate is known that makes it one again."""
        known = self._certificates.get(member)
        return member in self.authority.revoked and (known is None or self.authority.void(member, known[0].serial))

    def members(self, now: int) -> list[Certificate]:
        """Those in good standing, by key."""
        return [self._certificates[key][0] for key in sorted(self._certificates) if self.standing(key, now)]

    def listed(self, owner: bytes, now: int) -> Callable[[bytes], bool]:
        """A test of learnware ids: whether the federation lets this owner's listing be seen."""
        if not self.standing(owner, now):
            return lambda learnware_id: False
        taken = self.authority.takedowns
        return lambda learnware_id: (owner, learnware_id) not in taken
