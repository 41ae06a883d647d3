"""The owner's side of its own logs: signing listings and heads, and applying them to its own catalogue."""

from __future__ import annotations

import threading

import msgspec
from atoll.engine.specs.noised import NoisedSketch
from atoll.engine.specs.report import check_publication
from atoll.engine.specs.sketch import sketch
from atoll.node.identity import Identity
from atoll.node.store.catalogue import Catalogue
from atoll.node.store.dock import Dock, Learnware
from atoll.node.store.federations import Federations
from atoll.protocol import limits
from atoll.protocol.errors import NotFound
from atoll.protocol.gossip import Announcement
from atoll.protocol.heads import Head, root_of, sign_head
from atoll.protocol.listings import Listing, Offers, SignedListing, SpecSummary, sign_listing
from atoll.protocol.log import OwnerLog


class Publisher:
    """Writes this node's log in each federation; one writer, so every record has its own seq."""

    def __init__(self, identity: Identity, federations: Federations, catalogue: Catalogue, dock: Dock) -> None:
        self._identity = identity
        self._federations = federations
        self._catalogue = catalogue
        self._dock = dock
        self._lock = threading.Lock()

    def publish(self, learnware_id: bytes, federation: bytes, offers: Offers, now: int) -> Announcement:
        """List a learnware of the dock, or list it anew with other offers; returns after commit."""
        learnware = self._dock.get(learnware_id)
        for entry in learnware.manifest.specifications:
            if entry.privacy is not None:
                check_publication(entry.privacy, private=True)
        with self._lock:
            log = self._log(federation)
            listing = self._listing(learnware, federation, offers, log.position[1] + 1, now)
            return self._append(federation, log, [sign_listing(self._identity.key, listing)], now)

    def withdraw(self, learnware_id: bytes, federation: bytes, now: int) -> Announcement:
        """Take a learnware out of a federation; returns after commit."""
        with self._lock:
            log = self._log(federation)
            known = log.listings.get(learnware_id)
            if known is None or known.listing.status == "withdrawn":
                raise NotFound("the learnware is not listed in this federation")
            listing = msgspec.structs.replace(
                known.listing, status="withdrawn", seq=log.position[1] + 1, issued_at=now, specifications=()
            )
            return self._append(federation, log, [sign_listing(self._identity.key, listing)], now)

    def renew(self, federation: bytes, now: int) -> Announcement | None:
        """A fresh head once half of the old one's life is over; None while that is not needed."""
        with self._lock:
            log = self._log(federation)
            if log.head is None or log.head.head.expires_at - now > limits.HEAD_LIFETIME // 2:
                return None
            return self._append(federation, log, [], now)

    def listed_in(self, learnware_id: bytes) -> list[SignedListing]:
        """The live listings of an own learnware."""
        logs = [self._log(federation) for federation in sorted(self._federations.ids())]
        found = [log.listings[learnware_id] for log in logs if learnware_id in log.listings]
        return [signed for signed in found if signed.listing.status == "live"]

    def _log(self, federation: bytes) -> OwnerLog:
        return self._catalogue.log(federation, self._identity.public)

    def _append(self, federation: bytes, log: OwnerLog, news: list[SignedListing], now: int) -> Announcement:
        merged = {**log.listings, **{signed.listing.learnware_id: signed for signed in news}}
        epoch, seq = log.position
        head = sign_head(
            self._identity.key,
            Head(
                owner=self._identity.public,
                federation=federation,
                epoch=epoch or now,
                seq=seq + len(news) + 1,
                count=sum(signed.listing.status != "withdrawn" for signed in merged.values()),
                root=root_of(merged.values()),
                issued_at=now,
                expires_at=now + limits.HEAD_LIFETIME,
            ),
        )
        certificate = self._federations.certificate_of(federation, self._identity.public)
        records = tuple(signed.record for signed in news)
        self._catalogue.apply(federation, certificate, head.record, records, now)
        return Announcement(federation, head.record, certificate, records)

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
            specifications=tuple(self._summary(learnware, island) for island in sorted(learnware.specifications)),
            offers=offers,
            inputs=manifest.signature.inputs,
            outputs=manifest.signature.outputs,
            class_names=manifest.class_names,
        )

    def _summary(self, learnware: Learnware, island: bytes) -> SpecSummary:
        full, committed = learnware.specifications[island], learnware.commitments[island]
        count = 1 << (full.count.bit_length() - 1)
        if isinstance(full, NoisedSketch):
            noised = full.sketch
            return SpecSummary(island, noised.values.tobytes(), noised.norm2, count, committed, noised.scale, full.dp)
        short = sketch(full, self._catalogue.island(island))
        return SpecSummary(island, short.values.tobytes(), short.norm2, count, committed)
