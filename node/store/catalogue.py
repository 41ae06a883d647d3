"""The catalogue: the verified logs of every owner this node knows, its own included, and the islands they use.

Every change, local or from a peer, goes through :meth:`Catalogue.apply`, which verifies, advances the log by the
pure rule of the protocol, and returns after commit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from atoll.engine.islands import Island
from atoll.node.store.environment import Store, Transaction
from atoll.node.store.federations import Federations
from atoll.protocol import limits
from atoll.protocol.errors import NotFound, RecordRejected
from atoll.protocol.heads import SignedHead, open_head
from atoll.protocol.listings import SignedListing, open_listing
from atoll.protocol.log import OwnerLog, advance
from atoll.protocol.signing import Record

Listener = Callable[[bytes, bytes], None]  # federation, owner


class Catalogue:
    """Thread-safe. Logs live in memory and in the store; a reader sees whole logs only."""

    def __init__(self, store: Store, federations: Federations) -> None:
        self._store = store
        self._federations = federations
        self._heads = store.table("heads", Record)
        self._listings = store.table("listings", Record)
        self._islands = store.table("islands", bytes)
        self._lock = threading.RLock()
        self._logs: dict[tuple[bytes, bytes], OwnerLog] = {}
        self._known_islands: dict[bytes, Island] = {}
        self._listeners: list[Listener] = []
        self._load()

    def on_change(self, listener: Listener) -> None:
        """Call ``listener(federation, owner)`` after each change, from whatever thread made it."""
        self._listeners.append(listener)

    def log(self, federation: bytes, owner: bytes) -> OwnerLog:
        with self._lock:
            return self._logs.get((federation, owner), OwnerLog())

    def positions(self, federation: bytes) -> dict[bytes, tuple[int, int]]:
        """(epoch, seq) of each owner's log in a federation."""
        with self._lock:
            return {owner: log.position for (fed, owner), log in self._logs.items() if fed == federation and log.head}

    def alive(self, now: int) -> Iterator[SignedListing]:
        """Live listings under unexpired heads, in every federation of this node."""
        with self._lock:
            logs = sorted(self._logs.items())
        for _, log in logs:
            if log.is_current(now):
                for signed in sorted(log.listings.values(), key=lambda each: each.listing.learnware_id):
                    if signed.listing.status == "live":
                        yield signed

    def find(self, learnware_id: bytes, now: int) -> SignedListing:
        """The live listing of a learnware, or NotFound."""
        for signed in self.alive(now):
            if signed.listing.learnware_id == learnware_id:
                return signed
        raise NotFound(f"no learnware {learnware_id.hex()} in the catalogue", hint="see `atoll learnware list`")

    def apply(
        self, federation: bytes, certificate: Record, head: Record, listings: Sequence[Record], now: int,
        *, whole: bool = False,
    ) -> bool:  # fmt: skip
        """Advance an owner's log; False if nothing newer came. Raises what the protocol raises.

        LogIncomplete means: fetch the whole log and call again with ``whole=True``.
        """
        self._federations.get(federation)
        signed_head = open_head(head, federation=federation)
        owner = signed_head.head.owner
        if signed_head.head.position <= self.log(federation, owner).position:
            return self._check_replay(federation, signed_head)
        member = self._federations.check_member(federation, owner, certificate, now)
        if signed_head.head.count > member.max_listings:
            raise RecordRejected(f"the owner lists more than its {member.max_listings} learnwares")
        opened = [open_listing(record, owner=owner, federation=federation) for record in listings]
        with self._lock:
            log = self.log(federation, owner)
            base = OwnerLog(log.head) if whole else log
            merged = advance(base, signed_head, opened, now)
            self._commit(federation, owner, log, merged)
            self._logs[federation, owner] = merged
        for listener in self._listeners:
            listener(federation, owner)
        return True

    def island(self, digest: bytes) -> Island:
        """A known island, or NotFound."""
        if digest not in self._known_islands:
            raise NotFound(f"island {digest.hex()} is not known here (yet)")
        return self._known_islands[digest]

    def islands(self) -> list[Island]:
        return [self._known_islands[digest] for digest in sorted(self._known_islands)]

    def add_island(self, island: Island) -> None:
        """Keep an island definition; returns after commit."""
        if island.digest not in self._known_islands:
            self._store.write(lambda txn: self._islands.put(txn, island.digest, island.definition)).result()
            self._known_islands[island.digest] = island

    def missing_islands(self, federation: bytes) -> dict[bytes, list[bytes]]:
        """Islands that listings of a federation use and this node lacks, with owners to ask."""
        missing: dict[bytes, list[bytes]] = {}
        for (fed, owner), log in list(self._logs.items()):
            if fed == federation:
                for digest in _islands_of(log.listings.values()):
                    if digest not in self._known_islands:
                        missing.setdefault(digest, []).append(owner)
        return missing

    def uses_island(self, federation: bytes, digest: bytes) -> bool:
        """Whether any listing of the federation is in this island: only then it is served there."""
        return any(
            fed == federation and digest in _islands_of(log.listings.values())
            for (fed, _), log in list(self._logs.items())
        )

    def _check_replay(self, federation: bytes, head: SignedHead) -> bool:
        known = self.log(federation, head.head.owner).head
        if known is not None and known.head.position == head.head.position and known.record.body != head.record.body:
            advance(OwnerLog(known), head, (), head.head.issued_at)  # raises ForkDetected
        return False

    def _commit(self, federation: bytes, owner: bytes, old: OwnerLog, new: OwnerLog) -> None:
        key = federation + owner
        head = new.head
        assert head is not None  # advance() returns a log with a head

        def operation(txn: Transaction) -> None:
            for id_ in old.listings.keys() - new.listings.keys():
                self._listings.delete(txn, key + id_)
            for id_, signed in new.listings.items():
                if old.listings.get(id_) is not signed:
                    self._listings.put(txn, key + id_, signed.record)
            self._heads.put(txn, key, head.record)

        self._store.write(operation).result()

    def _load(self) -> None:
        with self._store.view() as txn:
            self._known_islands = {
                digest: Island.from_definition(definition) for digest, definition in self._islands.scan(txn)
            }
            for key, record in self._heads.scan(txn):
                federation, owner = key[:32], key[32:]
                listings = {
                    row[64:]: open_listing(body, owner=owner, federation=federation)
                    for row, body in self._listings.scan(txn, key)
                }
                self._logs[federation, owner] = OwnerLog(open_head(record, federation=federation), listings)


def page(log: OwnerLog, since: int) -> tuple[list[SignedListing], bool]:
    """At most SYNC_PAGE listings after ``since`` and whether there are more."""
    listings = log.since(since)
    return listings[: limits.SYNC_PAGE], len(listings) > limits.SYNC_PAGE


def _islands_of(listings: Iterable[SignedListing]) -> set[bytes]:
    return {spec.island for signed in listings for spec in signed.listing.specifications}
