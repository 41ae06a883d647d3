"""The own specifications in memory, by federation and island: what is listed, in the dock, and to what policy it is.

Changes of the catalogue, the dock and the policies are noted at once, and taken in by the next query or, mostly, before
it by a thread that makes the stand-ins as well.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from atoll.engine.specs.rkme import Rkme
from atoll.node.errors import NodeBusy
from atoll.node.matching.readers import ReadersLock
from atoll.node.matching.shelf import Entry, Shelf
from atoll.node.matching.stand_ins import StandIns
from atoll.node.policy import Gate
from atoll.node.store.catalogue import Catalogue
from atoll.node.store.dock import Dock
from atoll.protocol.listings import Listing

log = logging.getLogger("atoll.matching")

PATIENCE = 0.5  # seconds that a query waits for stand-ins that nobody has needed before


class OwnSpecifications:
    """Thread-safe. ``start`` and ``close`` its thread."""

    def __init__(self, own: bytes, catalogue: Catalogue, dock: Dock, gate: Gate, stand_ins: StandIns) -> None:
        self._own = own
        self._catalogue = catalogue
        self._dock = dock
        self._gate = gate
        self._stand_ins = stand_ins
        self._lock = ReadersLock()
        self._shelves: dict[bytes, dict[bytes, Shelf]] = {}
        self._noted = threading.Lock()
        self._changed = {federation for federation, owner in catalogue.owners() if owner == own}
        self._made = False
        self._woken = threading.Event()
        self._woken.set()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="atoll-specifications", daemon=True)
        catalogue.on_change(self._on_catalogue)
        dock.on_change(self._on_dock)
        gate.policies.on_change(lambda federation, _: self._note({federation}))

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Returns when the thread has ended."""
        self._closing = True
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()

    @contextmanager
    def shelf(self, federation: bytes, island: bytes) -> Iterator[Shelf]:
        """What is there now; it does not change within the block."""
        self._take_in()
        with self._lock.reading():
            yield self._shelves.get(federation, {}).get(island) or Shelf()

    def prepare(self, entries: Collection[Entry]) -> None:
        """Have the stand-ins of these made; NodeBusy if they are too many to wait for."""
        rkmes = [entry.rkme for entry in entries]
        self._stand_ins.want(rkmes, first=True)
        self._woken.set()
        if not self._stand_ins.wait(rkmes, PATIENCE):
            raise NodeBusy(f"{len(rkmes)} specifications are being made ready", hint="try again in a minute")
        self._made = True

    # -- what changes ----------------------------------------------------------------------------------------------

    def _on_catalogue(self, federation: bytes, owner: bytes) -> None:
        if owner in (self._own, b""):
            self._note({federation})

    def _on_dock(self, learnware_id: bytes) -> None:
        self._note({federation for federation, owner in self._catalogue.owners() if owner == self._own})

    def _note(self, federations: set[bytes]) -> None:
        with self._noted:
            self._changed |= federations
        self._woken.set()

    def _run(self) -> None:
        self._guarded(self._forget_stand_ins)
        while self._woken.wait() and not self._closing:
            self._woken.clear()
            self._guarded(self._take_in)
            self._guarded(self._make_stand_ins)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # the outermost edge of the thread
            log.error("the own specifications were not made ready: %r", error, exc_info=error)

    def _forget_stand_ins(self) -> None:
        """Of what is not in the dock any more."""
        found = [spec for each in self._dock.all() for spec in each.specifications.values()]
        self._stand_ins.keep_only(spec for spec in found if isinstance(spec, Rkme))

    def _make_stand_ins(self) -> None:
        """One after the other, until there is something else to do."""
        while not self._woken.is_set():
            try:
                if not self._stand_ins.make_next():
                    break
            except Exception as error:  # of one RKME: the others are made all the same
                log.error("a stand-in was not made: %r", error, exc_info=error)
            self._made = True
        if self._made:
            self._woken.set()

    def _take_in(self) -> None:
        if not self._changed and not self._made:
            return
        with self._lock.writing():
            with self._noted:
                changed, self._changed = self._changed, set()
            self._made = False
            try:
                for federation in sorted(changed):
                    self._follow(federation)
            except BaseException:  # the next query tries again
                with self._noted:
                    self._changed |= changed
                raise
            for shelves in self._shelves.values():
                for shelf in shelves.values():
                    shelf.stand_in(self._stand_ins.find)
        self._woken.set()  # for the stand-ins that are wanted now

    def _follow(self, federation: bytes) -> None:
        held = self._shelves.pop(federation, {})
        listed: defaultdict[bytes, dict[str, Entry]] = defaultdict(dict)
        for listing in self._catalogue.of_owner(federation, self._own):
            for entry in self._entries(listing, held):
                listed[entry.summary.island][entry.id] = entry
        for island, entries in listed.items():
            shelf = held.get(island) or Shelf()
            shelf.follow(entries)
            self._shelves.setdefault(federation, {})[island] = shelf
            self._stand_ins.want(each.rkme for each in entries.values() if not each.policy.offers.discloses)

    def _entries(self, listing: Listing, held: dict[bytes, Shelf]) -> Iterator[Entry]:
        """What may be matched of a listing: while it is live, each RKME that is in the dock and that it commits to. The
        entry that is held, if it still holds."""
        learnware = self._dock.find(listing.learnware_id)
        if learnware is None or listing.status != "live":
            return
        policy = self._gate.policy(listing)
        for summary in listing.specifications:
            rkme = learnware.rkme(summary.island)
            if rkme is None or learnware.commitments[summary.island] != summary.commitment:
                continue
            shelf = held.get(summary.island)
            old = shelf.entries.get(listing.learnware_id.hex()) if shelf else None
            if old and old.listing is listing and old.rkme is rkme and old.policy == policy:
                yield old
            else:
                yield Entry(listing, summary, policy, rkme, learnware.salt(summary.island))
