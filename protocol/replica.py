"""One node's view of a federation: the roll, the logs of all owners, proven forks; and how two views become one.

The rules of replication (network.md, sections 2 and 3) without a socket, a store or a clock. What arrives is verified
here, whoever sent it; every method either takes news in and says what changed, or raises and changes nothing. The
signed records of listings are not kept here: a change hands them to the caller, and logs know their hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

from atoll.protocol.errors import ForkDetected, Quarantined, RecordRejected
from atoll.protocol.forks import ForkProof, open_fork
from atoll.protocol.heads import SignedHead, open_head
from atoll.protocol.listings import SignedListing, open_listing, require_told_apart
from atoll.protocol.log import Line, OwnerLog, advance
from atoll.protocol.roll import Roll
from atoll.protocol.signing import Record
from atoll.protocol.sync import Key, Kind, Position

Held = Callable[[bytes], tuple[int, int]]  # owner -> (epoch, seq)


@dataclass(frozen=True)
class LogChange:
    """A log before and after, and the listings that came."""

    owner: bytes
    before: OwnerLog
    after: OwnerLog
    news: tuple[SignedListing, ...]


@dataclass(frozen=True)
class OpenedLog:
    """A head and listings whose signatures hold: what takes long, and needs to know nothing of a replica."""

    head: SignedHead
    listings: tuple[SignedListing, ...]

    @classmethod
    def of(cls, federation: bytes, head: Record, listings: Sequence[Record], held: Held) -> OpenedLog:
        """Raises what the records deserve. ``held(owner)`` is the position that is held: what is not newer than that is
        not opened any further."""
        signed = open_head(head, federation=federation)
        owner = signed.head.owner
        if signed.head.position <= held(owner):
            return cls(signed, ())
        if len(listings) > signed.head.seq:
            raise RecordRejected("more listings than the log can have")
        opened = tuple(open_listing(each, owner=owner, federation=federation) for each in listings)
        for each in opened:
            require_told_apart(each.listing)
        return cls(signed, opened)


class Replica:
    """Not thread-safe: its holder locks."""

    def __init__(self, roll: Roll) -> None:
        self.roll = roll
        self._logs: dict[bytes, OwnerLog] = {}
        self._forks: dict[bytes, ForkProof] = {}
        self._pardoned: set[tuple[bytes, int, int]] = set()

    @property
    def federation(self) -> bytes:
        return self.roll.federation

    @property
    def logs(self) -> Mapping[bytes, OwnerLog]:
        """By owner."""
        return MappingProxyType(self._logs)

    def log(self, owner: bytes) -> OwnerLog:
        return self._logs.get(owner, OwnerLog())

    def take_log(
        self, certificate: Record, head: Record, listings: Sequence[Record], now: int, *, whole: bool = False
    ) -> LogChange | None:
        """Advance an owner's log; None if nothing newer came. Raises what the rules raise.

        LogIncomplete means: fetch the whole log and call again with ``whole``. ForkDetected means: the head and the
        one that is held prove a fork (:meth:`proof_against`).
        """
        opened = OpenedLog.of(self.federation, head, listings, lambda owner: self.log(owner).position)
        return self.take_opened(certificate, opened, now, whole=whole)

    def take_opened(self, certificate: Record, opened: OpenedLog, now: int, *, whole: bool = False) -> LogChange | None:
        """As :meth:`take_log`, of what has been opened before, where that takes long."""
        signed = opened.head
        owner, known = signed.head.owner, self.log(signed.head.owner)
        if signed.head.position <= known.position:
            self._check_replay(signed, known)
            return None
        member, _ = self.roll.admit(owner, certificate, now)
        if signed.head.count > member.max_listings:
            raise RecordRejected(f"the owner lists more than its {member.max_listings} learnwares")
        after = advance(OwnerLog(known.head) if whole else known, signed, map(Line.of, opened.listings), now)
        self._logs[owner] = after
        kept = {line.digest for line in after.lines.values()}
        return LogChange(owner, known, after, tuple(each for each in opened.listings if each.record.digest in kept))

    def undo(self, change: LogChange) -> None:
        """Take a change back that could not be kept."""
        self._logs[change.owner] = change.before

    @contextmanager
    def undone_on_error(self) -> Iterator[None]:
        """Forks taken and pardoned within have not been if an error leaves the block."""
        forks, pardoned = dict(self._forks), set(self._pardoned)
        try:
            yield
        except BaseException:
            self._forks, self._pardoned = forks, pardoned
            raise

    def take_fork(self, records: Sequence[Record]) -> ForkProof | None:
        """Quarantine an owner that has forked; None if a proof is held already, or this fork was pardoned."""
        proof = open_fork(records, federation=self.federation)
        if proof.owner in self._forks or (proof.owner, proof.epoch, proof.seq) in self._pardoned:
            return None
        self._forks[proof.owner] = proof
        return proof

    def proof_against(self, head: Record) -> tuple[Record, Record]:
        """The two heads of a fork that :meth:`take_log` has detected."""
        held = self.log(open_head(head, federation=self.federation).head.owner).head
        if held is None:
            raise RecordRejected("no head of this owner is held")
        return held.record, head

    def pardon(self, owner: bytes) -> ForkProof | None:
        """Lift the quarantine of an owner, here and for this fork; None if there was none."""
        proof = self._forks.pop(owner, None)
        if proof is not None:
            self._pardoned.add((owner, proof.epoch, proof.seq))
        return proof

    @property
    def forks(self) -> Mapping[bytes, ForkProof]:
        """By owner; these are in quarantine."""
        return MappingProxyType(self._forks)

    def restore(
        self, logs: Mapping[bytes, OwnerLog], forks: Iterable[ForkProof], pardoned: Iterable[tuple[bytes, int, int]]
    ) -> None:
        """Put back what was verified before it was stored."""
        self._logs, self._pardoned = dict(logs), set(pardoned)
        self._forks = {proof.owner: proof for proof in forks}

    def hidden(self, owner: bytes, now: int) -> str:
        """Why an owner's listings are not to be seen, in words; empty if they are."""
        if owner in self._forks:
            return "in quarantine: it signed two histories"
        if owner in self.roll.successions:
            return "it has handed over to another key"
        if not self.roll.standing(owner, now):
            return "no member in good standing"
        if not self.log(owner).is_current(now):
            return "its head has expired"
        return ""

    def visible(self, now: int) -> Iterator[tuple[bytes, Line]]:
        """(owner, line) of every listing that counts and may be seen, by owner and id."""
        for owner in sorted(self._logs):
            if self.hidden(owner, now):
                continue
            listed = self.roll.listed(owner, now)
            lines = self._logs[owner].lines
            yield from ((owner, lines[id_]) for id_ in sorted(lines) if lines[id_].counted and listed(id_))

    def root(self, now: int) -> tuple[bytes, int]:
        """(hash over all that may be seen, how many listings that is): equal views have equal roots."""
        hashed, count = hashlib.sha256(b"atoll/catalogue/1\0"), 0
        for owner, line in self.visible(now):
            hashed.update(owner + line.learnware_id + line.digest)
            count += 1
        return hashed.digest(), count

    def positions(self, now: int) -> dict[Key, Position]:
        """Where everything stands that a newcomer could verify too, for comparing with a peer."""
        found: dict[Key, Position] = {}
        for owner, log in self._logs.items():
            if log.head is not None and not self.hidden(owner, now):
                found[Kind.LOG, owner] = (*log.position, log.head.record.digest[:8])
        for admin, signed in self.roll.decrees.items():
            found[Kind.DECREE, admin] = (0, signed.decree.seq, signed.record.digest[:8])
        for old, handed in self.roll.successions.items():
            by_recovery, digest = handed.rank
            found[Kind.SUCCESSION, old] = (int(by_recovery), 1, digest[:8])
        for owner in {*self._forks, *(owner for owner, _, _ in self._pardoned)}:
            found[Kind.FORK, owner] = (0, 1, b"")  # one proof is as good as another
        return found

    def wants(self, kind: Kind, owner: bytes) -> bool:
        """Whether to pull it where it stands higher; not the log of somebody in quarantine, revoked or succeeded."""
        if kind is not Kind.LOG:
            return True
        known = self.roll.certificate(owner)
        gone = owner in self.roll.successions or (known is not None and self.roll.void(known[0]))
        return owner not in self._forks and not gone

    def _check_replay(self, new: SignedHead, known: OwnerLog) -> None:
        held = known.head
        if held is None or new.head.position != held.head.position or new.record.body == held.record.body:
            return
        if new.head.owner in self._forks:
            raise Quarantined("the owner has forked and is in quarantine")
        raise ForkDetected("two different heads with one (epoch, seq)")
