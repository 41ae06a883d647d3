"""What is known of the listings of an island beside their distances: which are copies of elder ones, which lie in the
middle of everything, whose squared norm is odd, and who is new where keys are free. It follows from the catalogue
alone, and no query changes it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from atoll.engine.matching import Neighbourhoods, Specifications, faces, neighbourhoods, odd_norms
from atoll.node.store.catalogue import Catalogue
from atoll.protocol.limits import MINUTE, SECOND
from atoll.protocol.listings import Listing, SpecSummary
from numpy.typing import NDArray

SIMULTANEOUS = 60 * MINUTE  # what was first seen within an hour has come at once, whoever was heard first
REFRESHED = 10 * SECOND  # so long a change among many listings may wait to be judged
FEW = 2000  # listings that are judged after every change: 0.1 s
DRIFT = 0.1  # share of the listings that may be new since neighbourhoods were last looked at

Row = tuple[Listing, SpecSummary]
Flags = NDArray[np.bool_]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Standing:
    """Of n listings of one island: the place of the ``face`` of each (its own, unless it is a copy), its ``age`` as a
    number, 0 for the eldest, whether it is a ``hub``, its norm is ``odd``, or its owner ``new``."""

    face: Places
    age: Places
    hub: Flags
    odd: Flags
    new: Flags

    def sound(self, places: Places) -> Flags:
        """Which of ``places`` (k,) are neither hubs, nor odd, nor copies of an elder one of them (k,)."""
        face, found = self.face[places], np.zeros(len(places), np.bool_)
        order = np.lexsort((self.age[places], face))
        found[order[np.flatnonzero(np.diff(face[order], prepend=-1))]] = True
        return np.asarray(found & ~self.hub[places] & ~self.odd[places])


@dataclass
class _Known:
    rows: Sequence[Row]
    standing: Standing
    judged_at: int
    around: Neighbourhoods
    looked_at: int  # listings, when neighbourhoods were last looked at
    new: int = 0  # listings since then
    stale: bool = False
    met_at: int = 0  # when it was last asked who is new


class Standings:
    """Thread-safe; kept for each island until its listings change. Many are judged in a thread of their own, which no
    search waits for: until then they stand as they stood, and what is new as if nothing were known of it."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._seed = secrets.randbits(64)
        self._lock = threading.Lock()
        self._known: dict[bytes, _Known] = {}
        self._judging: threading.Thread | None = None

    def wait(self) -> None:
        """Returns when nothing is being judged."""
        judging = self._judging
        if judging is not None:
            judging.join()

    def of(self, island: bytes, rows: Sequence[Row], now: int) -> Standing:
        """The standing of the listings of an island, in their order."""
        with self._lock:
            known = self._known.get(island)
            if known is None:
                nothing = _carried(_nobody(), np.full(len(rows), -1), self._new(rows, now))
                around = neighbourhoods(np.zeros((0, 1), np.float32), self._seed)
                known = self._known[island] = _Known(rows, nothing, now - REFRESHED, around, 0, len(rows), stale=True)
            elif known.rows is not rows:
                places = _places(known.rows, rows)
                new = int((places < 0).sum())
                known.new += new
                known.stale = known.stale or bool(new) or len(rows) != len(known.rows)
                known.standing, known.rows = _carried(known.standing, places, self._new(rows, now)), rows
            if not 0 <= now - known.met_at < SIMULTANEOUS:
                known.standing, known.met_at = replace(known.standing, new=self._new(rows, now)), now
            if known.stale and len(rows) <= FEW:
                known = self._known[island] = self._judged(island, rows, known, now)
            elif known.stale and self._judging is None and not 0 <= now - known.judged_at < REFRESHED:
                judge = partial(self._judge, island, rows, known, now)
                self._judging = threading.Thread(target=judge, name="atoll-standings", daemon=True)
                self._judging.start()
            return known.standing

    def _judge(self, island: bytes, rows: Sequence[Row], known: _Known, now: int) -> None:
        try:
            judged = self._judged(island, rows, known, now)
            with self._lock:
                newer = self._known[island].rows
                if newer is not rows:
                    places = _places(rows, newer)
                    judged.new += int((places < 0).sum())
                    judged.standing, judged.rows = _carried(judged.standing, places, self._new(newer, now)), newer
                    judged.stale = True
                self._known[island] = judged
        finally:
            self._judging = None

    def _judged(self, island: bytes, rows: Sequence[Row], known: _Known, now: int) -> _Known:
        order = self._eldest_first(island, rows, np.zeros(len(rows), np.int64))
        given = _specifications([rows[place] for place in order])
        face = faces(given)
        if (face != np.arange(len(face))).any():
            order = self._eldest_first(island, rows, _own_work(given.owners, face)[np.argsort(order)])
            given = _specifications([rows[place] for place in order])
            face = faces(given)
        if known.new > DRIFT * known.looked_at:
            shown = given.rows[face == np.arange(len(face))]
            known = _Known(rows, _nobody(), now, neighbourhoods(shown, self._seed), len(rows))
        hub = known.around.hubs(given.rows, given.biases)
        odd = odd_norms(given.norms, np.square(given.rows, dtype=np.float64).sum(axis=1), given.biases)
        age = np.argsort(order)
        standing = Standing(order[face][age], age, hub[age], odd[age], self._new(rows, now))
        return _Known(rows, standing, now, known.around, known.looked_at, known.new)

    def _eldest_first(self, island: bytes, rows: Sequence[Row], own_work: Places) -> Places:
        """Of what has come at once, first that of owners who list most that nobody else does, then what is offered to
        be disclosed: who offers an RKME has to have one."""

        def age(place: int) -> tuple[int, int, bool, bytes, bytes, bytes]:
            listing = rows[place][0]
            seen = self._catalogue.first_seen(listing, island) // SIMULTANEOUS
            who = (listing.federation, listing.owner, listing.learnware_id)
            return (seen, -int(own_work[place]), not listing.offers.discloses, *who)

        return np.array(sorted(range(len(rows)), key=age), np.int64)

    def _new(self, rows: Sequence[Row], now: int) -> Flags:
        found = {
            who: self._catalogue.newcomer(*who, now)
            for who in dict.fromkeys((listing.federation, listing.owner) for listing, _ in rows)
        }
        return np.array([found[listing.federation, listing.owner] for listing, _ in rows], np.bool_)


def _own_work(owners: Places, face: Places) -> Places:
    """For each of n listings: how many its owner lists that are nobody's copy and nobody copies (n,)."""
    alone = np.bincount(face, minlength=len(face))[face] == 1
    return np.bincount(owners, weights=alone).astype(np.int64)[owners]


def _nobody() -> Standing:
    places, flags = np.zeros(0, np.int64), np.zeros(0, np.bool_)
    return Standing(places, places, flags, flags, flags)


def _specifications(rows: Sequence[Row]) -> Specifications:
    specs = [spec for _, spec in rows]
    values = np.frombuffer(b"".join(spec.sketch for spec in specs), np.int8).reshape(len(specs), -1 if specs else 1)
    numbers: dict[bytes, int] = {}
    return Specifications(
        values * np.array([[spec.scale] for spec in specs], np.float32).reshape(-1, 1),
        np.array([spec.norm2 for spec in specs]),
        np.array([float(spec.count) for spec in specs]),
        np.array([spec.to_sketch().bias for spec in specs]),
        np.array([numbers.setdefault(listing.owner, len(numbers)) for listing, _ in rows], np.int64),
        np.array([numbers.setdefault(listing.learnware_id, len(numbers)) for listing, _ in rows], np.int64),
    )


def _places(known: Sequence[Row], rows: Sequence[Row]) -> Places:
    """Where each of the rows was, -1 if it was not there as it is."""
    was = {id(spec): place for place, (_, spec) in enumerate(known)}
    return np.array([was.get(id(spec), -1) for _, spec in rows], np.int64)


def _carried(standing: Standing, places: Places, new: Flags) -> Standing:
    """For rows that were at ``places``: what is new is nobody's copy and no hub, until all are judged again."""
    here, was = np.arange(len(places)), len(standing.face)
    now_at = np.full(was + 1, -1)  # the last is where -1 points to
    now_at[places[places >= 0]] = here[places >= 0]
    face = now_at[np.append(standing.face, -1)][places]
    age = np.append(standing.age, was + len(here))[places]
    hub, odd = (np.append(flags, False)[places] for flags in (standing.hub, standing.odd))
    return Standing(np.where(face >= 0, face, here), age, hub, odd, new)
