"""The federations this node is in: charter, own certificate, and the roll of each (protocol.roll), kept on disk.

Everything that changes a roll, from a peer or from this node's own administrator, goes through here: verified,
committed, then told to the listeners.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec
from atoll.engine.errors import AtollError
from atoll.node.identity import Identity
from atoll.node.store.environment import Store, Transaction
from atoll.protocol import limits
from atoll.protocol.decrees import Authority, SignedDecree, open_decree
from atoll.protocol.errors import NotFound, NotMember
from atoll.protocol.membership import Certificate, Charter, found, grant, open_certificate, open_charter
from atoll.protocol.roll import Roll
from atoll.protocol.signing import Record
from atoll.protocol.succession import SignedSuccession, open_succession

Listener = Callable[[bytes], None]  # federation


class FederationRow(msgspec.Struct, frozen=True):
    """What is kept of one federation."""

    charter: Record
    certificate: Record


class SuccessionRow(msgspec.Struct, frozen=True):
    """A succession, as it is sent."""

    records: tuple[Record, Record, Record]


class Renewal(msgspec.Struct, frozen=True):
    """The last try, in this run, to get a fresh certificate of this node; ``why`` it failed, empty if it did not."""

    at: int
    why: str


class Federation(msgspec.Struct, frozen=True):
    """An opened row."""

    id: bytes
    charter: Charter
    row: FederationRow
    certificate: Certificate


class Federations:
    """Thread-safe. ``lock`` guards the rolls; the catalogue, which reads them in every rule, holds it too. ``name`` is
    what this node is called in certificates that it makes for itself."""

    def __init__(self, store: Store, identity: Identity, recovery: bytes | None = None, name: str = "") -> None:
        self._store = store
        self._identity = identity
        self._recovery = recovery
        self._name = name
        self._rows = store.table("federations", FederationRow)
        self._members = store.table("members", Record)
        self._decrees = store.table("decrees", Record)
        self._successions = store.table("successions", SuccessionRow)
        self.lock = threading.RLock()
        self._open: dict[bytes, Federation] = {}
        self._rolls: dict[bytes, Roll] = {}
        self._renewals: dict[bytes, Renewal] = {}
        self._listeners: list[Listener] = []
        self._load()

    def on_change(self, listener: Listener) -> None:
        """Call ``listener(federation)`` when a federation is entered or left or its decrees change, from any thread."""
        self._listeners.append(listener)

    def all(self) -> list[Federation]:
        with self.lock:
            return sorted(self._open.values(), key=lambda each: each.id)

    def ids(self) -> frozenset[bytes]:
        with self.lock:
            return frozenset(self._open)

    def get(self, federation: bytes) -> Federation:
        """The federation, or NotFound: to outsiders it does not exist."""
        with self.lock:
            if federation not in self._open:
                raise NotFound("this node is in no such federation", hint="see `atoll federation list`")
            return self._open[federation]

    def roll(self, federation: bytes) -> Roll:
        """The roll of a federation, to be read under ``lock``; NotFound as :meth:`get`."""
        self.get(federation)
        return self._rolls[federation]

    def create(self, name: str, now: int, *, open_: bool = False) -> Federation:
        """Found a federation with this node's key as its admin; returns after commit."""
        named = (self._recovery,) if self._recovery else ()
        charter = Charter(name, (self._identity.public,), now, open=open_, recovery=named)
        record = found(self._identity.key, charter)
        open_charter(record)
        roles = ("admin", "member")
        return self._keep(
            record, self._self_certified(record.digest, self._name, now, roles, limits.LISTINGS, self._recovery)
        )

    def accept(
        self,
        charter: Record,
        certificate: Record | None,
        now: int,
        decrees: Sequence[Record] = (),
        successions: Sequence[Sequence[Record]] = (),
    ) -> Federation:
        """Keep the membership that an admin granted, after checking it; returns after commit.

        Without a ``certificate`` the federation must be open, and this node certifies itself. ``decrees`` are what the
        admin knows of, and ``successions`` those of founders: they may say that its own certificates count.
        """
        opened = open_charter(charter)
        told = Roll(charter.digest, opened)
        for records in successions:
            with suppress(AtollError):  # what is needed and missing shows when the certificate is judged
                told.take_succession(records, now)
        for record in _founders_first(decrees, told):
            told.take_decree(record, now)
        if certificate is None:
            certificate = self._self_certified(
                charter.digest, self._name, now, ("member",), limits.OPEN_LISTINGS, self._recovery
            )
        told.admit(self._identity.public, certificate, now)
        federation = self._keep(charter, certificate)
        for handed in told.successions.values():
            self.take_succession(federation.id, handed.records, now)
        for signed in told.decrees.values():
            self.take_decree(federation.id, signed.record, now)
        return federation

    def renewed(self, federation: bytes, certificate: Record, now: int) -> Federation:
        """Keep a fresh certificate of this node; returns after commit."""
        self.check_member(federation, self._identity.public, certificate, now)
        return self._keep(self.get(federation).row.charter, certificate)

    def renew_self(self, federation: bytes, now: int) -> Federation | None:
        """Certify this node anew where it may do so itself: as an admin, or in an open federation; else None."""
        entry = self.get(federation)
        with self.lock:
            admin = self._identity.public in self._rolls[federation].authority.admins
        if not admin and not entry.charter.open:
            return None
        own = entry.certificate
        recovery = (own.recovery if own.member == self._identity.public else None) or self._recovery
        roles, quota = (own.roles, own.max_listings) if admin else (("member",), limits.OPEN_LISTINGS)
        return self.renewed(federation, self._self_certified(federation, own.name, now, roles, quota, recovery), now)

    def note_renewal(self, federation: bytes, now: int, why: str = "") -> None:
        """Remember how the last try to renew went."""
        with self.lock:
            self._renewals[federation] = Renewal(now, why)

    def last_renewal(self, federation: bytes) -> Renewal | None:
        """How the last try of this run to renew went; None if there was none."""
        with self.lock:
            return self._renewals.get(federation)

    def renewal_due(self, federation: bytes, now: int) -> bool:
        """Whether this node should get a fresh certificate: two thirds of the old one's life are over, or it would
        not be accepted by somebody who sees it for the first time."""
        entry = self.get(federation)
        own = entry.certificate
        if own.member != self._identity.public:  # this node has a new key
            return True
        if now >= renews_at(own):
            return True
        with self.lock:
            roll = self._rolls[federation]
            try:
                open_certificate(
                    entry.row.certificate, federation=federation, charter=entry.charter,
                    admins=roll.authority.admins, member=self._identity.public, now=now,
                )  # fmt: skip
            except NotMember:
                return not roll.void(own)  # a revoked member need not ask
        return False

    def leave(self, federation: bytes) -> None:
        """Forget a federation and its roll; returns after commit. The catalogue forgets its listings by listening."""
        self.get(federation)

        def operation(txn: Transaction) -> None:
            self._rows.delete(txn, federation)
            for table in (self._members, self._decrees, self._successions):
                table.clear(txn, federation)

        self._store.write(operation).result()
        with self.lock:
            del self._open[federation], self._rolls[federation]
            self._renewals.pop(federation, None)
        self._tell(federation)

    def check_member(self, federation: bytes, member: bytes, record: Record, now: int) -> Certificate:
        """Verify and keep the certificate of a member; NotMember and its kin otherwise."""
        with self.lock:
            certificate, new = self.roll(federation).admit(member, record, now)
        if new:
            self.keep_certificate(federation, member, record)
        return certificate

    def keep_certificate(self, federation: bytes, member: bytes, record: Record) -> None:
        """Write a certificate that the roll has admitted; it is queued before whatever the caller writes next."""
        self._store.write(lambda txn: self._members.put(txn, federation + member, record))

    def take_decree(self, federation: bytes, record: Record, now: int) -> SignedDecree | None:
        """Take in an admin's decree, a peer's or the own; None if it is not news. Returns after commit."""
        with self.lock, self.roll(federation).undone_on_error():
            signed = self.roll(federation).take_decree(record, now)
            if signed is None:
                return None
            key = federation + signed.decree.admin
            self._store.write(lambda txn: self._decrees.put(txn, key, record)).result()
        self._tell(federation)
        return signed

    def take_succession(self, federation: bytes, records: Sequence[Record], now: int) -> SignedSuccession | None:
        """Take in that a member has a new key; None if it is not news. Returns after commit."""
        with self.lock, self.roll(federation).undone_on_error():
            signed = self.roll(federation).take_succession(records, now)
            if signed is None:
                return None
            key, row = federation + signed.succession.owner, SuccessionRow(signed.records)
            self._store.write(lambda txn: self._successions.put(txn, key, row)).result()
        self._tell(federation)
        return signed

    @property
    def recovery(self) -> bytes | None:
        """The hash of this node's recovery key, which its certificates name."""
        return self._recovery

    def certified(self, federation: bytes) -> bool:
        """Whether this node has a certificate for its key; not while a new key waits for an admin."""
        return self.get(federation).certificate.member == self._identity.public

    def succeeded(self, federation: bytes) -> SignedSuccession | None:
        """The succession by which this node's key has come into its membership; None if it is its first."""
        with self.lock:
            roll = self.roll(federation)
            old = roll.predecessor(self._identity.public)
            return None if old is None else roll.successions[old]

    def certificate_of(self, federation: bytes, member: bytes) -> Record:
        """The kept certificate of a member, this node's own included."""
        with self.lock:
            known = self.roll(federation).certificate(member)
        if known is None:
            raise NotMember("no certificate of this member is known")
        return known[1]

    def standing(self, federation: bytes, member: bytes, now: int) -> bool:
        """Whether a key is that of a member in good standing; False also for federations this node is not in."""
        with self.lock:
            roll = self._rolls.get(federation)
            return roll is not None and roll.standing(member, now)

    def barred(self, federation: bytes, member: bytes) -> bool:
        """Whether a key is that of a revoked member."""
        with self.lock:
            return self.roll(federation).barred(member)

    def founding_successions(self, federation: bytes) -> tuple[tuple[Record, ...], ...]:
        """Those that a newcomer needs, as they are sent; the others come by replication."""
        with self.lock:
            return tuple(signed.records for signed in self.roll(federation).founding_successions())

    def decrees(self, federation: bytes) -> tuple[Record, ...]:
        """The newest decree of each admin, as it is sent."""
        with self.lock:
            return tuple(signed.record for signed in self.roll(federation).decrees.values())

    def authority(self, federation: bytes) -> Authority:
        """Who decides, and what is in force."""
        with self.lock:
            return self.roll(federation).authority

    def taken_down_by(self, federation: bytes) -> dict[tuple[bytes, bytes], tuple[bytes, ...]]:
        """Which admins' decrees have taken down what, by (owner, learnware id); each takes back its own."""
        with self.lock:
            roll = self.roll(federation)
            return {
                (owner, id_): tuple(
                    admin
                    for admin, signed in sorted(roll.decrees.items())
                    if any((each.owner, each.learnware_id) == (owner, id_) for each in signed.decree.takedowns)
                )
                for owner, id_ in roll.authority.takedowns
            }

    def admins(self, federation: bytes) -> frozenset[bytes]:
        """Founders and those they have appointed."""
        return self.authority(federation).admins

    def members(self, federation: bytes, now: int) -> list[Certificate]:
        with self.lock:
            return self.roll(federation).members(now)

    def _self_certified(
        self, federation: bytes, name: str, now: int, roles: tuple[str, ...], max_listings: int,
        recovery: bytes | None,
    ) -> Record:  # fmt: skip
        own = self._identity
        return grant(
            own.key, federation, own.public, name, now, roles=roles, max_listings=max_listings,
            recovery=recovery,
        )  # fmt: skip

    def _keep(self, charter: Record, certificate: Record) -> Federation:
        row = FederationRow(charter, certificate)
        self._store.write(lambda txn: self._rows.put(txn, charter.digest, row)).result()
        before = self._open.get(charter.digest)
        federation = self._remember(row)
        if before is None or before.certificate.member != federation.certificate.member:
            self._tell(federation.id)
        return federation

    def _remember(self, row: FederationRow) -> Federation:
        charter = open_charter(row.charter)
        own = msgspec.msgpack.decode(row.certificate.body, type=Certificate)
        federation = Federation(row.charter.digest, charter, row, own)
        with self.lock:
            self._open[federation.id] = federation
            roll = self._rolls.setdefault(federation.id, Roll(federation.id, charter))
            roll.remember(own, row.certificate)
        return federation

    def _tell(self, federation: bytes) -> None:
        for listener in self._listeners:
            listener(federation)

    def _load(self) -> None:
        with self._store.view() as txn:
            rows = [row for _, row in self._rows.scan(txn)]
            members, decrees = list(self._members.scan(txn)), list(self._decrees.scan(txn))
            handed = list(self._successions.scan(txn))
        for row in rows:
            self._remember(row)
        for key, record in members:
            if key[:32] in self._rolls:
                self._rolls[key[:32]].remember(msgspec.msgpack.decode(record.body, type=Certificate), record)
        for key, each in handed:
            if key[:32] in self._rolls:
                self._rolls[key[:32]].restore_succession(open_succession(each.records, federation=key[:32]))
        self._load_decrees(decrees)
        for federation in self._open.values():  # the own certificate wins over a stored copy of an older one
            self._rolls[federation.id].remember(federation.certificate, federation.row.certificate)

    def _load_decrees(self, decrees: list[tuple[bytes, Record]]) -> None:
        for federation, roll in self._rolls.items():
            own = [record for key, record in decrees if key[:32] == federation]
            for record in own:
                roll.restore_decree(open_decree(record, federation=federation))


def renews_at(certificate: Certificate) -> int:
    """When a node begins to ask for the next one: two thirds of this one's life are over."""
    return certificate.not_before + (certificate.expires_at - certificate.not_before) * 2 // 3


def _founders_first(decrees: Sequence[Record], roll: Roll) -> list[Record]:
    """Founders' decrees make those count whom they appoint; RecordRejected and its kin for what is none."""
    founders = roll.authority.founders
    return sorted(
        decrees, key=lambda record: open_decree(record, federation=roll.federation).decree.admin not in founders
    )
