"""The catalogue: the verified logs of every owner this node knows, its own included, and the islands they use.

Every change, local or from a peer, goes through the rules of the protocol (protocol.replica) and is committed before
it is told. Listings that may not be seen (stale, revoked, taken down, in quarantine) are kept and not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec
from atoll.engine.islands import Island
from atoll.engine.semantic import SemanticQuery
from atoll.node.store.environment import Store, Transaction
from atoll.node.store.federations import Federations
from atoll.node.store.index import ListingIndex
from atoll.node.store.islands import Islands
from atoll.node.store.loading import logs_of, no_collection
from atoll.node.store.sightings import NOWHERE, Sightings, Times
from atoll.node.store.sightings import Key as ListingKey
from atoll.protocol import limits
from atoll.protocol.decrees import SignedDecree
from atoll.protocol.errors import ForkDetected, NotFound
from atoll.protocol.forks import ForkProof, open_fork
from atoll.protocol.gossip import News
from atoll.protocol.listings import Listing, State
from atoll.protocol.log import Line, OwnerLog
from atoll.protocol.replica import LogChange, OpenedLog, Replica
from atoll.protocol.signing import Record
from atoll.protocol.sync import Key, Kind, Notice, Position

Listener = Callable[[bytes, bytes], None]  # federation, owner
LIVE: tuple[State, ...] = ("live",)


class ForkRow(msgspec.Struct, frozen=True):
    """A proof of a fork, and whether an administrator of this node has pardoned it."""

    records: tuple[Record, Record]
    pardoned: bool = False


class Catalogue:
    """Thread-safe. Logs and decoded listings live in memory, signed records in the store."""

    def __init__(self, store: Store, federations: Federations) -> None:
        self._store = store
        self._federations = federations
        self._lock = federations.lock
        self._heads = store.table("heads", Record)
        self._listings = store.table("listings", Record)
        self._forks = store.table("forks", ForkRow)
        self._replicas: dict[bytes, Replica] = {}
        self._index = ListingIndex()
        self._sightings = Sightings(store)
        self._listeners: list[Listener] = []
        self._on_fork: list[Callable[[Notice], None]] = []
        with no_collection():
            self._islands = Islands(store)
            self._load()
        store.release()
        federations.on_change(self._follow)

    # -- what is there ---------------------------------------------------------------------------------------------

    def on_change(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener(federation, owner)`` after each change, from any thread, until what it gives is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def on_fork(self, listener: Callable[[Notice], None]) -> None:
        """Call ``listener(notice)`` when this node has caught an owner forking."""
        self._on_fork.append(listener)

    def log(self, federation: bytes, owner: bytes) -> OwnerLog:
        with self._lock:
            replica = self._replicas.get(federation)
            return replica.log(owner) if replica else OwnerLog()

    def listing(self, federation: bytes, owner: bytes, learnware_id: bytes) -> Listing | None:
        """What an owner lists, seen or not; None if it has withdrawn or never listed it."""
        with self._lock:
            return self._index.get((federation, owner, learnware_id))

    def of_owner(self, federation: bytes, owner: bytes) -> list[Listing]:
        """All that an owner lists, seen or not, paused ones included; by learnware id."""
        with self._lock:
            return self._index.of_owner(federation, owner)

    def first_seen(self, listing: Listing, island: bytes = NOWHERE) -> int:
        """Since when this node knows a listing, with the specification that it has now in an island."""
        with self._lock:
            return self._sightings.first((listing.federation, listing.owner, listing.learnware_id), island)

    def newcomer(self, federation: bytes, owner: bytes, now: int) -> bool:
        """Whether an owner is new in a federation that anybody may enter with any number of keys."""
        with self._lock:
            replica = self._replicas.get(federation)
            return (
                replica is not None and replica.roll.charter.open and self._sightings.newcomer(federation, owner, now)
            )

    def owners(self) -> list[tuple[bytes, bytes]]:
        """(federation, owner) of all that is listed."""
        with self._lock:
            return self._index.owners()

    def alive(self, now: int, query: SemanticQuery | None = None, states: Collection[State] = LIVE) -> list[Listing]:
        """Live listings that may be seen, in every federation of this node, or those in other ``states``; such as fit
        ``query`` only."""
        with self._lock:
            found = self._index.found(query or SemanticQuery())
            return self._seen(found, now, states)

    def in_island(self, island: bytes, now: int) -> list[Listing]:
        """As :meth:`alive`, of one island."""
        with self._lock:
            return self._seen(self._index.in_island(island), now)

    def find(self, learnware_id: bytes, now: int) -> Listing:
        """A live listing of a learnware, or NotFound."""
        found = self.versions(learnware_id, now)
        if not found:
            raise NotFound(f"no learnware {learnware_id.hex()} in the catalogue", hint="see `atoll learnware list`")
        return found[0]

    def versions(self, called: bytes | str, now: int, states: Collection[State] = LIVE) -> list[Listing]:
        """Every live listing under an id, or alias, that may be seen: of several federations, and of all claimants."""
        with self._lock:
            return self._seen(self._index.of_learnware(called), now, states)

    def hidden(self, federation: bytes, owner: bytes, now: int) -> str:
        """Why the listings of an owner are not shown, in words; empty if they are."""
        with self._lock:
            replica = self._replicas.get(federation)
            return replica.hidden(owner, now) if replica else "not in this federation"

    def root(self, federation: bytes, now: int) -> tuple[bytes, int]:
        """(hash over all listings of a federation that may be seen, their number): nodes that are level agree on it."""
        self._federations.get(federation)
        with self._lock:
            return self._replicas[federation].root(now)

    def positions(self, federation: bytes, now: int) -> dict[Key, Position]:
        """Where logs, decrees and forks of a federation stand, for comparing with a peer."""
        with self._lock:
            replica = self._replicas.get(federation)
            return replica.positions(now) if replica else {}

    def wants(self, federation: bytes, kind: Kind, owner: bytes) -> bool:
        with self._lock:
            return self._replicas[federation].wants(kind, owner)

    def record(self, listing: Listing) -> Record | None:
        """The signed record of a listing; None if it is not kept (any more)."""
        with self._store.view() as txn:
            return self._listings.get(txn, listing.place)

    def page(self, federation: bytes, owner: bytes, since: int) -> tuple[Record, list[Record], bool]:
        """(head, at most SYNC_PAGE listings after ``since``, whether there are more); NotFound without a head."""
        log = self.log(federation, owner)
        if log.head is None:
            raise NotFound("no such log here")
        lines = log.since(since)
        found = self._signed(federation + owner, lines[: limits.SYNC_PAGE])
        return log.head.record, found, len(lines) > limits.SYNC_PAGE

    def records(self, federation: bytes, owner: bytes) -> list[Record]:
        """The signed listings of an owner that count (live and paused)."""
        lines = self.log(federation, owner).since(0)
        return self._signed(federation + owner, [line for line in lines if line.counted])

    def notice(self, federation: bytes, kind: Kind, owner: bytes) -> Notice:
        """A succession, a decree or a fork proof, as it is sent; NotFound if there is none."""
        with self._lock:
            replica = self._replicas.get(federation)
            handed = replica.roll.successions.get(owner) if replica and kind is Kind.SUCCESSION else None
            decree = replica.roll.decrees.get(owner) if replica and kind is Kind.DECREE else None
        if handed is not None:
            return Notice(federation, kind, handed.records)
        if decree is not None:
            return Notice(federation, kind, (decree.record,))
        with self._store.view() as txn:
            row = self._forks.get(txn, federation + owner) if kind is Kind.FORK else None
        if row is None:
            raise NotFound("no such notice here")
        return Notice(federation, kind, row.records)

    def revocations(self, federation: bytes, member: bytes) -> list[Notice]:
        """The decrees that revoke a member; none where this node is in no such federation."""
        with self._lock:
            replica = self._replicas.get(federation)
            decrees = replica.roll.decrees.values() if replica else ()
            found = [each for each in decrees if any(r.member == member for r in each.decree.revoked)]
        return [Notice(federation, Kind.DECREE, (each.record,)) for each in found]

    def quarantined(self, federation: bytes) -> Mapping[bytes, ForkProof]:
        """Owners that have forked."""
        with self._lock:
            return dict(self._replicas[federation].forks) if federation in self._replicas else {}

    # -- what arrives ----------------------------------------------------------------------------------------------

    def apply(
        self, federation: bytes, certificate: Record, head: Record, listings: Sequence[Record], now: int,
        *, whole: bool = False,
    ) -> bool:  # fmt: skip
        """Advance an owner's log; False if nothing newer came. Raises what the protocol raises.

        LogIncomplete means: fetch the whole log and call again with ``whole=True``. After ForkDetected the owner is in
        quarantine and the proof is kept.
        """
        self._federations.get(federation)
        opened = OpenedLog.of(federation, head, listings, lambda owner: self.log(federation, owner).position)
        try:
            with self._lock:
                replica = self._replicas[federation]
                change = replica.take_opened(certificate, opened, now, whole=whole)
                if change is not None:
                    self._commit(replica, certificate, change, now)
        except ForkDetected:
            self._caught(federation, head)
            raise
        if change is None:
            return False
        self._tell(federation, change.owner)
        return True

    def take_in(self, news: News, now: int) -> bool:
        """Take in what is gossiped or told: as :meth:`apply` or :meth:`take_notice`."""
        if isinstance(news, Notice):
            return self.take_notice(news, now)
        return self.apply(news.federation, news.certificate, news.head, news.listings, now)

    def take_notice(self, notice: Notice, now: int) -> bool:
        """Take in a succession, a decree or a fork proof; False if it is not news. Raises what the protocol raises."""
        federation = notice.federation
        if notice.kind is Kind.SUCCESSION:
            return self._federations.take_succession(federation, notice.records, now) is not None
        if notice.kind is Kind.DECREE:
            return self._take_decree(federation, notice.records, now) is not None
        if notice.kind is not Kind.FORK:
            raise NotFound("this is no kind of notice")
        proof = self._change_forks(federation, lambda replica: replica.take_fork(notice.records), pardoned=False)
        return proof is not None

    def pardon(self, federation: bytes, owner: bytes) -> None:
        """Lift the quarantine of an owner at this node; NotFound if there is none. Returns after commit."""
        if self._change_forks(federation, lambda replica: replica.pardon(owner), pardoned=True) is None:
            raise NotFound("this owner is not in quarantine here")

    # -- islands ---------------------------------------------------------------------------------------------------

    def island(self, digest: bytes) -> Island:
        """A known island, or NotFound."""
        return self._islands.get(digest)

    def islands(self) -> list[Island]:
        return self._islands.all()

    def add_island(self, island: Island) -> None:
        """Keep an island definition; returns after commit."""
        self._islands.add(island)

    def missing_islands(self, federation: bytes) -> dict[bytes, list[bytes]]:
        """Islands that listings of a federation use and this node lacks, with owners to ask."""
        with self._lock:
            lacking = [digest for digest in self._index.islands() if digest not in self._islands]
            found = {
                digest: [each.owner for each in self._index.in_island(digest) if each.federation == federation]
                for digest in lacking
            }
        return {digest: owners for digest, owners in found.items() if owners}

    def uses_island(self, federation: bytes, digest: bytes) -> bool:
        """Whether any listing of the federation is in this island: only then it is served there."""
        with self._lock:
            return any(each.federation == federation for each in self._index.in_island(digest))

    # -- keeping ---------------------------------------------------------------------------------------------------

    def _seen(self, listings: Sequence[Listing], now: int, states: Collection[State] = LIVE) -> list[Listing]:
        tests: dict[tuple[bytes, bytes], Callable[[bytes], bool]] = {}
        shown = []
        for listing in listings:
            who = (listing.federation, listing.owner)
            if who not in tests:
                replica = self._replicas[listing.federation]
                hidden = replica.hidden(listing.owner, now)
                tests[who] = (lambda _: False) if hidden else replica.roll.listed(listing.owner, now)
            if listing.status in states and tests[who](listing.learnware_id):
                shown.append(listing)
        return shown

    def _signed(self, prefix: bytes, lines: Sequence[Line]) -> list[Record]:
        """The records of an owner's listings, those that are kept."""
        with self._store.view() as txn:
            found = [self._listings.get(txn, prefix + line.learnware_id) for line in lines]
        return [record for record in found if record is not None]

    def _take_decree(self, federation: bytes, records: Sequence[Record], now: int) -> SignedDecree | None:
        if len(records) != 1:
            raise NotFound("a decree is one record")
        return self._federations.take_decree(federation, records[0], now)

    def _change_forks(
        self, federation: bytes, change: Callable[[Replica], ForkProof | None], *, pardoned: bool
    ) -> ForkProof | None:
        """Take a proof in, or pardon it; what cannot be written has not happened."""
        self._federations.get(federation)
        with self._lock, self._replicas[federation].undone_on_error():
            proof = change(self._replicas[federation])
            if proof is None:
                return None
            row = ForkRow(proof.records, pardoned)
            self._store.write(lambda txn: self._forks.put(txn, federation + proof.owner, row)).result()
        self._tell(federation, proof.owner)
        return proof

    def _caught(self, federation: bytes, head: Record) -> None:
        with self._lock:
            records = self._replicas[federation].proof_against(head)
        notice = Notice(federation, Kind.FORK, records)
        if self.take_notice(notice, 0):
            for listener in self._on_fork:
                listener(notice)

    def _commit(self, replica: Replica, certificate: Record, change: LogChange, now: int) -> None:
        """Write what changed of a log, then let the index follow; what cannot be written has not happened."""
        federation, after = replica.federation, change.after
        key = federation + change.owner
        gone = change.before.lines.keys() - after.lines.keys()
        dropped = [(federation, change.owner, id_) for id_ in gone]
        news = [signed.listing for signed in change.news]
        before = replica.roll.predecessors(change.owner)
        head = after.head
        assert head is not None  # a change ends in a head

        def operation(txn: Transaction) -> dict[ListingKey, Times]:
            for id_ in gone:
                self._listings.delete(txn, key + id_)
            for signed in change.news:
                self._listings.put(txn, key + signed.listing.learnware_id, signed.record)
            self._heads.put(txn, key, head.record)
            return self._sightings.write(txn, news, dropped, before, now)

        self._federations.keep_certificate(federation, change.owner, certificate)
        try:
            times = self._store.write(operation).result()
        except BaseException:
            replica.undo(change)
            raise
        self._sightings.keep(times, dropped)
        for gone_key in dropped:
            self._index.discard(gone_key)
        for listing in news:
            if listing.status == "withdrawn":
                self._index.discard((federation, change.owner, listing.learnware_id))
            else:
                self._index.put(listing)

    def _tell(self, federation: bytes, owner: bytes) -> None:
        for listener in tuple(self._listeners):
            listener(federation, owner)

    def _follow(self, federation: bytes) -> None:
        """A federation was entered or left, or its decrees changed what may be seen."""
        with self._lock:
            if federation in self._federations.ids():
                if federation not in self._replicas:
                    self._replicas[federation] = Replica(self._federations.roll(federation))
            elif self._replicas.pop(federation, None) is not None:
                self._forget(federation)
        self._tell(federation, b"")

    def _forget(self, federation: bytes) -> None:
        def operation(txn: Transaction) -> None:
            for table in (self._heads, self._listings, self._forks):
                table.clear(txn, federation)
            self._sightings.forget(txn, federation)

        for listing in self._index.found(SemanticQuery()):
            if listing.federation == federation:
                self._index.discard((federation, listing.owner, listing.learnware_id))
        self._store.write(operation).result()

    def _load(self) -> None:
        with self._store.view() as txn:
            for federation in self._federations.ids():
                rows = [
                    (row, open_fork(row.records, federation=federation)) for _, row in self._forks.scan(txn, federation)
                ]
                replica = Replica(self._federations.roll(federation))
                replica.restore(
                    logs_of(txn, self._heads, self._listings, federation, self._index.put),
                    [proof for row, proof in rows if not row.pardoned],
                    [(proof.owner, proof.epoch, proof.seq) for row, proof in rows if row.pardoned],
                )
                self._replicas[federation] = replica
                self._sightings.load(txn, federation)
