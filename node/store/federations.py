"""The federations this node is in: charter, own certificate, certificates of the other members, invites."""

from __future__ import annotations

import secrets
import threading

import msgspec
from atoll.node.identity import Identity
from atoll.node.store.environment import Store, Transaction
from atoll.protocol import limits
from atoll.protocol.errors import InviteInvalid, NotFound, NotMember
from atoll.protocol.membership import (
    Certificate,
    Charter,
    Invite,
    certify,
    found,
    open_certificate,
    open_charter,
)
from atoll.protocol.signing import Record


class FederationRow(msgspec.Struct, frozen=True):
    """What is kept of one federation."""

    charter: Record
    certificate: Record


class InviteRow(msgspec.Struct, frozen=True):
    """An invite that this node, as admin, has given out."""

    federation: bytes
    expires_at: int
    used_by: bytes | None = None


class Federation(msgspec.Struct, frozen=True):
    """An opened row."""

    id: bytes
    charter: Charter
    row: FederationRow
    certificate: Certificate


class Federations:
    """Thread-safe. Certificates of members are verified before they are kept."""

    def __init__(self, store: Store, identity: Identity) -> None:
        self._store = store
        self._identity = identity
        self._rows = store.table("federations", FederationRow)
        self._invites = store.table("invites", InviteRow)
        self._members = store.table("members", Record)
        self._lock = threading.RLock()
        self._open: dict[bytes, Federation] = {}
        self._certificates: dict[tuple[bytes, bytes], tuple[Certificate, Record]] = {}
        self._load()

    def all(self) -> list[Federation]:
        with self._lock:
            return sorted(self._open.values(), key=lambda each: each.id)

    def ids(self) -> frozenset[bytes]:
        with self._lock:
            return frozenset(self._open)

    def get(self, federation: bytes) -> Federation:
        """The federation, or NotFound: to outsiders it does not exist."""
        with self._lock:
            if federation not in self._open:
                raise NotFound("this node is in no such federation", hint="see `atoll federation list`")
            return self._open[federation]

    def create(self, name: str, now: int) -> Federation:
        """Found a private federation with this node's key as its admin; returns after commit."""
        charter = Charter(name, (self._identity.public,), now)
        record = found(self._identity.key, charter)
        open_charter(record)
        certificate = self._certify(record.digest, self._identity.public, name, now, roles=("admin", "member"))
        return self._keep(record, certificate)

    def accept(self, charter: Record, certificate: Record, now: int) -> Federation:
        """Keep the membership that an admin granted, after checking it; returns after commit."""
        open_certificate(
            certificate, federation=charter.digest, charter=open_charter(charter),
            member=self._identity.public, now=now,
        )  # fmt: skip
        return self._keep(charter, certificate)

    def invite(self, federation: bytes, addresses: tuple[str, ...], now: int, lifetime: int) -> Invite:
        """A single-use invite; NotMember unless this node is an admin."""
        entry = self._admin_of(federation)
        token = secrets.token_bytes(16)
        row = InviteRow(federation, now + lifetime)
        self._store.write(lambda txn: self._invites.put(txn, token, row)).result()
        return Invite(federation, entry.charter.name, token, addresses, row.expires_at)

    def redeem(self, federation: bytes, token: bytes, member: bytes, name: str, now: int) -> tuple[Record, Record]:
        """(charter, certificate) for a newcomer; InviteInvalid unless the token is unused and in force."""
        entry = self._admin_of(federation)

        def use(txn: Transaction) -> None:
            row = self._invites.get(txn, token)
            if row is None or row.federation != federation or now >= row.expires_at:
                raise InviteInvalid("the invite is unknown or has expired", hint="ask the admin for a new one")
            if row.used_by not in (None, member):
                raise InviteInvalid("the invite has been used", hint="ask the admin for a new one")
            self._invites.put(txn, token, msgspec.structs.replace(row, used_by=member))

        self._store.write(use).result()
        certificate = self._certify(federation, member, name, now)
        self.check_member(federation, member, certificate, now)
        return entry.row.charter, certificate

    def check_member(self, federation: bytes, member: bytes, record: Record, now: int) -> Certificate:
        """Verify and keep the certificate of a member; NotMember and its kin otherwise."""
        key = (federation, member)
        known = self._certificates.get(key)
        if known is not None and known[1].body == record.body and known[1].signature == record.signature:
            certificate = known[0]
            if now >= certificate.expires_at:
                raise NotMember("the certificate has expired")
            return certificate
        entry = self.get(federation)
        certificate = open_certificate(record, federation=federation, charter=entry.charter, member=member, now=now)
        if known is None or certificate.serial >= known[0].serial:
            self._certificates[key] = (certificate, record)
            self._store.write(lambda txn: self._members.put(txn, federation + member, record)).result()
        return certificate

    def certificate_of(self, federation: bytes, member: bytes) -> Record:
        """The kept certificate of a member, this node's own included."""
        known = self._certificates.get((federation, member))
        if known is None:
            raise NotMember("no certificate of this member is known")
        return known[1]

    def members(self, federation: bytes) -> list[Certificate]:
        self.get(federation)
        found_ = (entry[0] for key, entry in self._certificates.copy().items() if key[0] == federation)
        return sorted(found_, key=lambda certificate: certificate.member)

    def _admin_of(self, federation: bytes) -> Federation:
        entry = self.get(federation)
        if self._identity.public not in entry.charter.admins:
            raise NotMember("this node is not an admin of the federation")
        return entry

    def _certify(
        self, federation: bytes, member: bytes, name: str, now: int, roles: tuple[str, ...] = ("member",)
    ) -> Record:
        certificate = Certificate(
            federation, member, name[:80], now, now + limits.CERTIFICATE_LIFETIME, serial=now, roles=roles
        )
        return certify(self._identity.key, certificate)

    def _keep(self, charter: Record, certificate: Record) -> Federation:
        row = FederationRow(charter, certificate)
        self._store.write(lambda txn: self._rows.put(txn, charter.digest, row)).result()
        return self._remember(row)

    def _remember(self, row: FederationRow) -> Federation:
        charter = open_charter(row.charter)
        own = msgspec.msgpack.decode(row.certificate.body, type=Certificate)
        federation = Federation(row.charter.digest, charter, row, own)
        with self._lock:
            self._open[federation.id] = federation
            self._certificates[federation.id, self._identity.public] = (own, row.certificate)
        return federation

    def _load(self) -> None:
        with self._store.view() as txn:
            rows = [row for _, row in self._rows.scan(txn)]
            members = list(self._members.scan(txn))
        for row in rows:
            self._remember(row)
        for key, record in members:
            certificate = msgspec.msgpack.decode(record.body, type=Certificate)
            self._certificates[key[:32], key[32:]] = (certificate, record)
