"""The owner's side of its own logs: signing listings and heads, and applying them to its own catalogue."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import msgspec
from atoll.engine.packages import Manifest
from atoll.engine.specs.noised import NoisedSketch
from atoll.engine.specs.report import check_publication, check_rows
from atoll.engine.specs.sketch import sketch
from atoll.engine.specs.stand_in import stand_in
from atoll.node.identity import Identity
from atoll.node.policy.checking import check_policy
from atoll.node.policy.rules import Policies
from atoll.node.store.catalogue import Catalogue
from atoll.node.store.dock import Dock, Learnware
from atoll.node.store.federations import Federations
from atoll.protocol import limits
from atoll.protocol.errors import NotFound
from atoll.protocol.gossip import Announcement
from atoll.protocol.heads import Head, SignedHead, sign_head
from atoll.protocol.listings import Listing, Offers, Quality, SignedListing, SpecSummary, State, sign_listing
from atoll.protocol.log import Line, OwnerLog, root_of
from atoll.protocol.policy import Policy
from atoll.protocol.signing import Record


class Publisher:
    """Writes this node's log in each federation; one writer, so every record has its own seq."""

    def __init__(
        self, identity: Identity, federations: Federations, catalogue: Catalogue, dock: Dock, policies: Policies
    ) -> None:
        self._identity = identity
        self._federations = federations
        self._catalogue = catalogue
        self._dock = dock
        self._policies = policies
        self._lock = threading.Lock()

    def publish(
        self, learnware_id: bytes, federation: bytes, policy: Policy, now: int, *, few_rows: bool = False
    ) -> Announcement:
        """List a learnware of the dock, or list it anew with another policy; returns after commit. The policy is in
        force before the listing says so; if that fails, the one before is again. What is paused stays so.

        ``few_rows`` is the owner's word that a specification of fewer than 300 rows may go into an open federation.
        """
        learnware = self._dock.get(learnware_id)
        check_policy(policy, learnware.manifest)
        self.check_privacy(learnware, federation, few_rows=few_rows)
        with self._lock:
            listing = self._listing(learnware, federation, policy.check().offers, self._next_seq(federation), now)
            known = self._catalogue.listing(federation, self._identity.public, learnware_id)
            if known is not None:
                listing = msgspec.structs.replace(listing, status=known.status)
            signed = sign_listing(self._identity.key, listing)
            with self._policies.changed(federation, learnware_id, policy):
                return self._append(federation, [signed], now)

    def check_privacy(self, learnware: Learnware, federation: bytes, *, few_rows: bool = False) -> None:
        """PrivacyRefusal if its specifications may not be published there."""
        private = not self._federations.get(federation).charter.open
        for entry in learnware.manifest.specifications:
            if entry.privacy is not None:
                check_publication(entry.privacy, private=private, override=few_rows)
            elif entry.dp is None:
                rows = learnware.specifications[bytes.fromhex(entry.island)].count
                check_rows(rows, private=private, override=few_rows)

    def draft(self, learnware_id: bytes, federation: bytes, policy: Policy, now: int) -> Listing:
        """What :meth:`publish` would sign now, unsigned and without specifications: for the gate to judge by before
        there is a listing."""
        row, manifest = self._dock.get(learnware_id).row, self._dock.get(learnware_id).manifest
        return Listing(
            self._identity.public, federation, learnware_id, row.revision, self._next_seq(federation), now, "live",
            manifest.semantic.summary(), offers=policy.offers,
        )  # fmt: skip

    def require_kept(self, manifest: Manifest) -> None:
        """RequestInvalid for a revision that could not be listed with a policy that its learnware has now."""
        learnware_id = bytes.fromhex(manifest.learnware_id) if manifest.learnware_id else b""
        for listing in self.listed_in(learnware_id) if learnware_id else ():
            check_policy(self._policies.get(listing.federation, learnware_id) or Policy.of(listing.offers), manifest)

    def set_state(self, learnware_id: bytes, federation: bytes, state: State, now: int) -> Announcement:
        """Pause a listing or let it live again; nothing else of it changes. Returns after commit."""
        with self._lock:
            known = self._known(learnware_id, federation)
            changed = msgspec.structs.replace(known, status=state, seq=self._next_seq(federation), issued_at=now)
            return self._append(federation, [sign_listing(self._identity.key, changed)], now)

    def withdraw(self, learnware_id: bytes, federation: bytes, now: int) -> Announcement:
        """Take a learnware out of a federation; returns after commit."""
        with self._lock:
            news = self._withdraw(federation, [self._known(learnware_id, federation)], now)
            self._policies.forget(federation, [learnware_id])
            return news

    def withdraw_all(self, federation: bytes, now: int) -> Announcement | None:
        """Take everything out of a federation; None if nothing is listed. Returns after commit."""
        with self._lock:
            known = self._catalogue.of_owner(federation, self._identity.public)
            if not known:
                return None
            news = self._withdraw(federation, known, now)
            self._policies.forget(federation, [each.learnware_id for each in known])
            return news

    def _withdraw(self, federation: bytes, known: list[Listing], now: int) -> Announcement:
        seq = self._next_seq(federation)
        gone = [
            msgspec.structs.replace(each, status="withdrawn", seq=seq + place, issued_at=now, specifications=())
            for place, each in enumerate(known)
        ]
        return self._append(federation, [sign_listing(self._identity.key, each) for each in gone], now)

    def renew(self, federation: bytes, now: int) -> Announcement | None:
        """A fresh head once half of the old one's life is over; None while that is not needed.

        A log whose head has expired, or that carries many withdrawn listings, begins a new epoch with it.
        """
        with self._lock:
            return self._append(federation, [], now) if self.renewal_due(federation, now) else None

    def renewal_due(self, federation: bytes, now: int) -> bool:
        """Whether there is a head, and half of its life is over."""
        head = self._log(federation).head
        return head is not None and head.head.expires_at - now <= limits.HEAD_LIFETIME // 2

    def rebase(self, federation: bytes, above: int, now: int) -> Announcement | None:
        """Begin an epoch higher than ``above``: peers know more of the own log than this node does, which has come
        back from a backup. None if there is no log. Returns after commit."""
        with self._lock:
            if self._log(federation).head is None and not above:
                return None
            return self._begin_epoch(federation, max(now, above + 1), [], now)

    def take_over(self, federation: bytes, old: bytes, now: int) -> Announcement | None:
        """List under this node's key what ``old`` has listed, whose membership it has come into; None if that is
        nothing, or this node has listed something already. Returns after commit."""
        with self._lock:
            known = self._catalogue.of_owner(federation, old)
            if self._log(federation).head is not None or not known:
                return None
            own = [
                msgspec.structs.replace(each, owner=self._identity.public, seq=place, issued_at=now)
                for place, each in enumerate(known, start=1)
                if self._dock.holds(each.learnware_id)
            ]
            return self._append(federation, [sign_listing(self._identity.key, each) for each in own], now)

    def specified_as(self, learnware_id: bytes, listing: Listing) -> bool:
        """Whether a listing commits to the very specifications that the dock has: the owner's word on them holds."""
        own = self._dock.get(learnware_id).commitments
        return {spec.island: spec.commitment for spec in listing.specifications} == own

    def listed_in(self, learnware_id: bytes) -> list[Listing]:
        """The listings of an own learnware, paused ones included."""
        own = self._identity.public
        found = [self._catalogue.listing(each, own, learnware_id) for each in sorted(self._federations.ids())]
        return [listing for listing in found if listing is not None]

    def _known(self, learnware_id: bytes, federation: bytes) -> Listing:
        known = self._catalogue.listing(federation, self._identity.public, learnware_id)
        if known is None:
            raise NotFound("the learnware is not listed in this federation")
        return known

    def _log(self, federation: bytes) -> OwnerLog:
        return self._catalogue.log(federation, self._identity.public)

    def _next_seq(self, federation: bytes) -> int:
        return self._log(federation).position[1] + 1

    def _append(self, federation: bytes, news: list[SignedListing], now: int) -> Announcement:
        """Sign a head over the log with ``news`` and apply both."""
        log = self._log(federation)
        epoch, seq = log.position
        expired = log.head is not None and not log.is_current(now)  # peers then no longer say where they know it to be
        if expired or sum(not line.counted for line in log.lines.values()) >= limits.WITHDRAWN // 2:
            return self._begin_epoch(federation, max(now, epoch + 1), news, now)
        lines = dict(log.lines) | {signed.listing.learnware_id: Line.of(signed) for signed in news}
        head = self._head(federation, epoch or now, seq + len(news) + 1, lines.values(), now)
        return self._apply(federation, head, [signed.record for signed in news], now)

    def _begin_epoch(self, federation: bytes, epoch: int, news: list[SignedListing], now: int) -> Announcement:
        log, own = self._log(federation), self._identity.public
        lines = dict(log.lines) | {signed.listing.learnware_id: Line.of(signed) for signed in news}
        kept = {line.digest: line for line in lines.values() if line.counted}
        records = [*self._catalogue.records(federation, own), *(signed.record for signed in news)]
        seq = max([log.position[1], *(line.seq for line in kept.values())]) + len(news) + 1
        head = self._head(federation, epoch, seq, kept.values(), now)
        return self._apply(federation, head, [each for each in records if each.digest in kept], now, whole=True)

    def _head(self, federation: bytes, epoch: int, seq: int, lines: Iterable[Line], now: int) -> SignedHead:
        counted = [line for line in lines if line.counted]
        return sign_head(
            self._identity.key,
            Head(
                owner=self._identity.public,
                federation=federation,
                epoch=epoch,
                seq=seq,
                count=len(counted),
                root=root_of(counted),
                issued_at=now,
                expires_at=now + limits.HEAD_LIFETIME,
            ),
        )

    def _apply(
        self, federation: bytes, head: SignedHead, records: list[Record], now: int, *, whole: bool = False
    ) -> Announcement:
        certificate = self._federations.certificate_of(federation, self._identity.public)
        self._catalogue.apply(federation, certificate, head.record, records, now, whole=whole)
        return Announcement(federation, head.record, certificate, tuple(records))

    def _listing(self, learnware: Learnware, federation: bytes, offers: Offers, seq: int, now: int) -> Listing:
        manifest = learnware.manifest
        return Listing(
            owner=self._identity.public,
            federation=federation,
            learnware_id=learnware.id,
            revision=learnware.row.revision,
            seq=seq,
            issued_at=now,
            status="live",
            semantic=manifest.semantic.summary(),
            specifications=tuple(
                self._summary(learnware, island, disclosed=offers.discloses)
                for island in sorted(learnware.specifications)
            ),
            offers=offers,
            inputs=manifest.signature.inputs,
            outputs=manifest.signature.outputs,
            class_names=manifest.class_names,
            quality=_quality(learnware),
            alias=manifest.alias,
        )

    def _summary(self, learnware: Learnware, island: bytes, *, disclosed: bool) -> SpecSummary:
        """The sketch is the RKME's if members may have that, else its stand-in's: to a sketch of few points, points
        can be fitted."""
        full, committed = learnware.specifications[island], learnware.commitments[island]
        count = 1 << (full.count.bit_length() - 1)
        if isinstance(full, NoisedSketch):
            noised = full.sketch
            return SpecSummary(island, noised.values.tobytes(), noised.norm2, count, committed, noised.scale, full.dp)
        short = sketch(full if disclosed else stand_in(full), self._catalogue.island(island))
        return SpecSummary(island, short.values.tobytes(), short.norm2, count, committed)


def _quality(learnware: Learnware) -> Quality | None:
    measured = learnware.row.quality
    return Quality(measured.metric, measured.value, measured.rows) if measured else None
