"""What the administrator of a federation does: invite, certify, revoke, take down, appoint. Nothing of it is asked of
others: each act is a signed record that every node verifies for itself.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import Literal

import msgspec
from atoll.node.identity import Identity
from atoll.node.store.audit import DONE, NODE, AuditLog
from atoll.node.store.environment import Store, Transaction
from atoll.node.store.federations import Federation, Federations
from atoll.node.store.tokens import id_of
from atoll.protocol import limits
from atoll.protocol.decrees import Decree, Revocation, Takedown, sign_decree
from atoll.protocol.errors import InviteInvalid, NotFound, NotMember, ProtocolError
from atoll.protocol.ids import peer_id
from atoll.protocol.membership import TOKEN_BYTES, Invite, grant
from atoll.protocol.signing import Record
from atoll.protocol.sync import Kind, Notice

Role = Literal["member", "reader"]
QUOTA = 10_000  # listings of a member, unless the invite says otherwise
ADMIT = "federation.admit"  # the act of this node when somebody comes with an invite
KEPT_BY = b"atoll/invite/1\0"


class InviteRow(msgspec.Struct, frozen=True):
    """An invite that this node, as admin, has given out, and what it grants. A reader may list nothing. ``made_by`` is
    who had it made, as the audit log calls him."""

    federation: bytes
    expires_at: int
    used_by: bytes | None = None
    role: Role = "member"
    max_listings: int = QUOTA
    made_by: str = ""

    def in_force(self, federation: bytes, now: int) -> bool:
        """Whether it leads into that federation, and has not expired."""
        return self.federation == federation and not self.expired(now)

    def expired(self, now: int) -> bool:
        return now >= self.expires_at


def invite_id(token: bytes) -> str:
    """What lists and the audit log call an invite; nothing is let in by it, and an open federation's has none."""
    return id_of(_digest_of(token)) if token else ""


class Administration:
    """Thread-safe. Every method that is given a federation raises NotMember unless this node is an admin of it."""

    def __init__(self, identity: Identity, federations: Federations, store: Store, audit: AuditLog) -> None:
        self._identity = identity
        self._federations = federations
        self._store = store
        self._audit = audit
        self._invites = store.table("invites", InviteRow)

    def invite(
        self, federation: bytes, addresses: tuple[str, ...], now: int, lifetime: int,
        *, role: Role = "member", max_listings: int = QUOTA, made_by: str = "",
    ) -> Invite:  # fmt: skip
        """A single-use invite; for an open federation a line that anybody may use, which any member can make."""
        entry = self._federations.get(federation)
        if entry.charter.open:
            return Invite(federation, entry.charter.name, b"", addresses, now + lifetime)
        self._require_admin(federation)
        if not 0 <= max_listings <= limits.LISTINGS:
            raise ProtocolError(f"a member lists 0 to {limits.LISTINGS} learnwares, not {max_listings}")
        token = secrets.token_bytes(TOKEN_BYTES)
        digest = _digest_of(token)
        row = InviteRow(federation, now + lifetime, None, role, 0 if role == "reader" else max_listings, made_by)
        self._store.write(lambda txn: self._invites.put(txn, digest, row)).result()
        return Invite(federation, entry.charter.name, token, addresses, row.expires_at)

    def invites(self, federation: bytes, now: int) -> list[tuple[str, InviteRow]]:
        """(id, row) of the invites of this node that have not expired, the first to expire first; their secrets are
        not kept."""
        self._require_admin(federation)
        with self._store.view() as txn:
            found = [(id_of(digest), row) for digest, row in self._invites.scan(txn)]
        return sorted(
            (each for each in found if each[1].in_force(federation, now)), key=lambda each: each[1].expires_at
        )

    def take_back(self, federation: bytes, id_: str, now: int) -> InviteRow:
        """Nobody can use the invite from now on; NotFound unless it is in force, InviteInvalid if somebody has used
        it."""
        self._require_admin(federation)

        def forget(txn: Transaction) -> InviteRow:
            found = ((digest, row) for digest, row in self._invites.scan(txn) if id_of(digest) == id_)
            digest, row = next(found, (b"", None))
            if row is None or not row.in_force(federation, now):
                raise NotFound("no such invite, or it has expired", hint="see `atoll federation invites`")
            if row.used_by is not None:
                raise InviteInvalid(
                    f"the invite has been used by {peer_id(row.used_by)}", hint="revoke the membership if that is wrong"
                )
            self._invites.delete(txn, digest)
            return row

        return self._store.write(forget).result()

    def sweep(self, now: int) -> None:
        """Forget the invites that have expired, used or not, wherever they lead; returns after commit."""
        with self._store.view() as txn:
            due = [digest for digest, row in self._invites.scan(txn) if row.expired(now)]

        def forget(txn: Transaction) -> None:
            for digest in due:
                self._invites.delete(txn, digest)

        if due:
            self._store.write(forget).result()

    def redeem(
        self, federation: bytes, token: bytes, member: bytes, name: str, now: int, recovery: bytes | None = None
    ) -> tuple[Record, Record | None]:
        """(charter, certificate) for a newcomer; NotFound for an unknown token, InviteInvalid unless it is unused and
        in force. Who has used it may come again, unless its membership has been revoked. The first time is in the audit
        log.

        In an open federation there is no certificate to give: the newcomer makes its own.
        """
        entry = self._federations.get(federation)
        if entry.charter.open and not token:
            return entry.row.charter, None
        self._require_admin(federation)
        barred = self._federations.barred(federation, member)
        digest = _digest_of(token)

        def valid(txn: Transaction) -> InviteRow:
            row = self._invites.get(txn, digest)
            if row is None or row.federation != federation:
                raise NotFound("no such invite")
            if row.expired(now):
                raise InviteInvalid("the invite has expired", hint="ask the admin for a new one")
            if row.used_by not in (None, member):
                raise InviteInvalid("the invite has been used", hint="ask the admin for a new one")
            if row.used_by is not None and barred:
                raise InviteInvalid("the membership has been revoked", hint="ask the admin for a new invite")
            return row

        def use(txn: Transaction) -> None:
            row = valid(txn)
            if row.used_by is None:
                self._invites.put(txn, digest, msgspec.structs.replace(row, used_by=member))
                self._audit.put(txn, NODE, ADMIT, _admission(row, digest, member, name), DONE, now)

        with self._store.view() as txn:
            row = valid(txn)
        with self._federations.lock:
            known = self._federations.roll(federation).certificate(member)
        recovery = (known[0].recovery if known else None) or recovery  # who comes again keeps what it has named
        certificate = self._certify(
            federation, member, name, now, roles=(row.role,), max_listings=row.max_listings, recovery=recovery
        )
        if row.used_by is None:
            self._store.write(use).result()
        return entry.row.charter, certificate

    def renew(self, federation: bytes, member: bytes, now: int, recovery: bytes | None = None) -> Record:
        """A fresh certificate on the terms of the old one, or of the one that the member's old key had; NotMember
        unless the member is in good standing. ``recovery`` counts where the old one names no recovery key."""
        self._require_admin(federation)
        with self._federations.lock:
            roll = self._federations.roll(federation)
            own, heir_of = roll.certificate(member), roll.predecessor(member)
            known = own or (roll.certificate(heir_of) if heir_of else None)
            if known is None:
                raise NotMember("no certificate of this member is known here")
            old = known[0]
            if roll.void(old) if own else roll.authority.void(old.member, old.serial):
                raise NotMember("the membership has been revoked")
        named = old.recovery or recovery if own else recovery or old.recovery
        return self._certify(
            federation, member, old.name, now, roles=old.roles, max_listings=old.max_listings, recovery=named,
            succeeds=heir_of,
        )  # fmt: skip

    def revoke(self, federation: bytes, member: bytes, now: int) -> Notice:
        """End a membership now; the member may be invited again."""
        if member in self._federations.get(federation).charter.admins:
            raise ProtocolError("a founder of the federation cannot be revoked")
        entry = Revocation(member, now)

        def change(decree: Decree) -> Decree:
            others = tuple(each for each in decree.revoked if each.member != member)
            return msgspec.structs.replace(decree, revoked=(*others, entry))

        return self._decree(federation, change, now)

    def take_down(self, federation: bytes, owner: bytes, learnware_id: bytes, now: int) -> Notice:
        """Hide one learnware from the whole federation."""
        entry = Takedown(owner, learnware_id)

        def change(decree: Decree) -> Decree:
            others = tuple(each for each in decree.takedowns if each != entry)
            return msgspec.structs.replace(decree, takedowns=(*others, entry))

        return self._decree(federation, change, now)

    def put_back(self, federation: bytes, owner: bytes, learnware_id: bytes, now: int) -> Notice:
        """Take an own takedown back; another admin's stands until that admin takes it back."""
        entry = Takedown(owner, learnware_id)

        def change(decree: Decree) -> Decree:
            return msgspec.structs.replace(decree, takedowns=tuple(t for t in decree.takedowns if t != entry))

        return self._decree(federation, change, now)

    def appoint(self, federation: bytes, member: bytes, now: int) -> Notice:
        """Make a member an admin beside the founders; it can invite, revoke and take down, not appoint."""
        self._require_founder(federation)
        if not self._federations.standing(federation, member, now):
            raise NotMember("only a member in good standing can become an admin")

        def change(decree: Decree) -> Decree:
            revoked = tuple(each for each in decree.revoked if each.member != member)
            return msgspec.structs.replace(
                decree, appointed=tuple(sorted({*decree.appointed, member})), revoked=revoked
            )

        return self._decree(federation, change, now)

    def dismiss(self, federation: bytes, member: bytes, now: int) -> Notice:
        """Take an appointed admin's office and membership; it may be invited again as a member."""
        self._require_founder(federation)
        return self.revoke(federation, member, now)

    def _decree(self, federation: bytes, change: Callable[[Decree], Decree], now: int) -> Notice:
        self._require_admin(federation)
        own = self._identity.public
        with self._federations.lock:
            known = self._federations.roll(federation).decrees.get(own)
            old = known.decree if known else Decree(federation, own, 0, now)
            changed = msgspec.structs.replace(change(old), seq=old.seq + 1, issued_at=now)
            signed = sign_decree(self._identity.key, changed)
            self._federations.take_decree(federation, signed.record, now)
        return Notice(federation, Kind.DECREE, (signed.record,))

    def inherit(self, federation: bytes, now: int, *, heard: bool) -> Notice | None:
        """Decree anew what those keys have decreed last whose successor this node's key is, be it nothing: whoever has
        stolen one is heard until then. None if it is done, or this node is no admin.

        That it was nothing is said only where a peer was ``heard``: after a restore this node may not know.
        """
        own = self._identity.public
        with self._federations.lock:
            roll = self._federations.roll(federation)
            line = roll.predecessors(own)
            if not line or own in roll.decrees or own not in roll.authority.admins:
                return None
            known = next((roll.decrees[key].decree for key in line if key in roll.decrees), None)
        if known is None and not heard:
            return None
        said = known or Decree(federation, own, 0, now)
        return self._decree(federation, lambda _: msgspec.structs.replace(said, admin=own), now)

    def _certify(
        self, federation: bytes, member: bytes, name: str, now: int, *, roles: tuple[str, ...], max_listings: int,
        recovery: bytes | None, succeeds: bytes | None = None,
    ) -> Record:  # fmt: skip
        record = grant(
            self._identity.key, federation, member, name, now, roles=roles, max_listings=max_listings,
            recovery=recovery, succeeds=succeeds,
        )  # fmt: skip
        self._federations.check_member(federation, member, record, now)
        return record

    def _require_admin(self, federation: bytes) -> Federation:
        entry = self._federations.get(federation)
        with self._federations.lock:
            admins = self._federations.roll(federation).authority.admins
        if self._identity.public not in admins:
            raise NotMember("this node is not an admin of the federation")
        return entry

    def _require_founder(self, federation: bytes) -> None:
        if self._identity.public not in self._federations.get(federation).charter.admins:
            raise NotMember("only a founder of the federation appoints and dismisses admins")


def _digest_of(token: bytes) -> bytes:
    """As which an invite is kept, so that nobody can use it who reads the store or a backup."""
    return hashlib.sha256(KEPT_BY + token).digest()


def _admission(row: InviteRow, digest: bytes, member: bytes, name: str) -> dict[str, str]:
    return {
        "federation": row.federation.hex(), "peer": peer_id(member), "name": name[: limits.NAME], "role": row.role,
        "invite": id_of(digest),
    }  # fmt: skip
