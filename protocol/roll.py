"""The roll of a federation: its charter, its admins' decrees, the certificates of its members and their successions.

Holds no key, no clock and no store: it takes what arrives, verifies it, and says what is true. The same records in any
order make the same roll.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

from atoll.protocol import limits
from atoll.protocol.decrees import Authority, SignedDecree, authority, line_of, open_decree
from atoll.protocol.errors import NotMember, RecordRejected
from atoll.protocol.membership import Certificate, Charter, open_certificate
from atoll.protocol.signing import Record, read
from atoll.protocol.succession import SignedSuccession, open_succession, recovery_hash


class Roll:
    """Who is in a federation and who decides. Not thread-safe: its holder locks."""

    def __init__(self, federation: bytes, charter: Charter) -> None:
        self.federation = federation
        self.charter = charter
        self.authority: Authority = authority(charter.admins, ())
        self._decrees: dict[bytes, SignedDecree] = {}
        self._certificates: dict[bytes, tuple[Certificate, Record]] = {}
        self._successions: dict[bytes, SignedSuccession] = {}
        self._heirs: dict[bytes, bytes] = {}
        self._taken: set[tuple[bytes, bytes]] = set()

    @property
    def decrees(self) -> Mapping[bytes, SignedDecree]:
        """By admin."""
        return MappingProxyType(self._decrees)

    @property
    def successions(self) -> Mapping[bytes, SignedSuccession]:
        """By the key that was handed over."""
        return MappingProxyType(self._successions)

    def take_succession(self, records: Sequence[Record], now: int) -> SignedSuccession | None:
        """Take a succession in; None if it is not news. RecordRejected and its kin for what does not count."""
        signed = open_succession(records, federation=self.federation)
        succession = signed.succession
        known = self._successions.get(succession.owner)
        if known is not None and signed.rank <= known.rank:
            return None
        if succession.issued_at > now + limits.CLOCK_SKEW:
            raise RecordRejected("the succession is from the future")
        named = self.recovery_of(succession.owner, signed.certificate)
        if succession.recovery is not None and named != recovery_hash(succession.recovery):
            raise RecordRejected("the member has named no such recovery key")
        self._successions[succession.owner] = signed
        self._decide()
        return signed

    def restore_succession(self, signed: SignedSuccession) -> None:
        """Put back what was verified before it was stored."""
        self._successions[signed.succession.owner] = signed
        self._decide()

    def restore_decree(self, signed: SignedDecree) -> None:
        """As :meth:`restore_succession`; who has signed it may be no admin any more."""
        self._decrees[signed.decree.admin] = signed
        self._decide()

    def founding_successions(self) -> list[SignedSuccession]:
        """By which founders' places have passed on, one after the other: a newcomer needs them to know who decides."""
        lines = (line_of(founder, self._heirs) for founder in self.charter.admins)
        return [self._successions[key] for line in lines for key in line[:-1]]

    def recovery_of(self, owner: bytes, record: Record) -> bytes | None:
        """The hash of a member's recovery key; NotMember unless it is or was one. What a certificate said that is
        known already counts before one that is shown now."""
        for founder in self.charter.admins:
            if owner in line_of(founder, self._heirs):
                return self.charter.recovery_of(founder)
        if owner in self._certificates:
            return self._certificates[owner][0].recovery
        begun = read(record, Certificate, limit=limits.CERTIFICATE).not_before
        return open_certificate(
            record, federation=self.federation, charter=self.charter, admins=self.authority.admins, member=owner,
            now=begun,
        ).recovery  # fmt: skip

    def predecessor(self, member: bytes) -> bytes | None:
        """The key whose membership was handed over to ``member``."""
        return next((old for old, each in self._successions.items() if each.succession.successor == member), None)

    def predecessors(self, member: bytes) -> list[bytes]:
        """The keys whose membership has come down to ``member``, the last one first."""
        line: list[bytes] = []
        while (old := self.predecessor(line[-1] if line else member)) is not None and old not in (member, *line):
            line.append(old)
        return line

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
        self._decide()
        return signed

    def _decide(self) -> None:
        self._heirs = {old: each.succession.successor for old, each in self._successions.items()}
        self.authority = authority(self.charter.admins, (each.decree for each in self._decrees.values()), self._heirs)
        self._taken = {(key, id_) for who, id_ in self.authority.takedowns for key in line_of(who, self._heirs)}

    @contextmanager
    def undone_on_error(self) -> Iterator[None]:
        """Decrees and successions taken within have not been taken if an error leaves the block."""
        decrees, successions = dict(self._decrees), dict(self._successions)
        try:
            yield
        except BaseException:
            self._decrees, self._successions = decrees, successions
            self._decide()
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
        if known is not None and known[0].recovery not in (None, certificate.recovery):
            raise RecordRejected("the certificate names another recovery key than the member's")
        if known is not None and certificate.serial < known[0].serial:
            return certificate, False
        self._certificates[member] = (certificate, record)
        return certificate, True

    def check(self, certificate: Certificate, now: int) -> None:
        """NotMember if a certificate that was taken in has expired or been revoked since."""
        if now >= certificate.expires_at:
            raise NotMember("the certificate has expired", hint="renew the membership")
        if certificate.member in self._successions:
            raise NotMember("the membership has been handed over to another key")
        if self.void(certificate):
            raise NotMember("the membership has been revoked")

    def void(self, certificate: Certificate) -> bool:
        """Whether a certificate has been revoked, its member has handed over, or was handed nothing after all."""
        old = certificate.succeeds
        usurped = old in self._successions and self._successions[old].succession.successor != certificate.member
        revoked = self.authority.void(certificate.member, certificate.serial)
        return revoked or usurped or certificate.member in self._successions

    def remember(self, certificate: Certificate, record: Record) -> None:
        """Put back what was verified before it was stored."""
        self._certificates[certificate.member] = (certificate, record)

    def certificate(self, member: bytes) -> tuple[Certificate, Record] | None:
        """The newest certificate seen of a member, in force or not."""
        return self._certificates.get(member)

    def standing(self, member: bytes, now: int) -> bool:
        """Whether a certificate in force is known of ``member``."""
        known = self._certificates.get(member)
        return known is not None and now < known[0].expires_at and not self.void(known[0])

    def barred(self, member: bytes) -> bool:
        """Whether a member has been revoked, and no certificate is known that makes it one again."""
        known = self._certificates.get(member)
        return self.void(known[0]) if known is not None else member in self.authority.revoked

    def members(self, now: int) -> list[Certificate]:
        """Those in good standing, by key."""
        return [self._certificates[key][0] for key in sorted(self._certificates) if self.standing(key, now)]

    def listed(self, owner: bytes, now: int) -> Callable[[bytes], bool]:
        """A test of learnware ids: whether the federation lets this owner's listing be seen."""
        if not self.standing(owner, now):
            return lambda learnware_id: False
        taken = self._taken
        return lambda learnware_id: (owner, learnware_id) not in taken
