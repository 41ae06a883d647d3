"""A federation of many nodes in one process: the protocol's own rules and frames, a virtual clock, a bad network.

Every choice comes from one seed. Nodes publish, withdraw, renew, revoke; frames are lost, doubled, late and out of
order; clocks are wrong; nodes crash and come back with what they had kept, or with an old backup; the network splits;
and some members forge, replay, fork and bloat.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from dataclasses import dataclass, field

import msgspec
from atoll.engine.errors import AtollError
from atoll.engine.semantic import SemanticSpec
from atoll.protocol import limits, sync
from atoll.protocol.decrees import Decree, Revocation, Takedown, sign_decree
from atoll.protocol.errors import ForkDetected, LogIncomplete
from atoll.protocol.gossip import Announcement, News
from atoll.protocol.heads import Head, SignedHead, sign_head
from atoll.protocol.listings import Listing, SignedListing, open_listing, sign_listing
from atoll.protocol.log import Line, OwnerLog, root_of
from atoll.protocol.membership import Certificate, Charter, certify, found
from atoll.protocol.messages import decode, encode
from atoll.protocol.replica import Replica
from atoll.protocol.roll import Roll
from atoll.protocol.signing import Record
from atoll.protocol.sync import Entry, Kind, Notice
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

START = 1_700_000_000_000
SKEW = 9 * limits.MINUTE  # within what the rules forgive
TICK = 10 * limits.SECOND


def key_of(seed: int, name: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest())


@dataclass
class Node:
    """An honest node: a replica, the records it keeps, and its own log."""

    key: Ed25519PrivateKey
    skew: int
    replica: Replica
    certificate: Record
    records: dict[tuple[bytes, bytes], Record] = field(default_factory=dict)
    up: bool = True
    side: int = 0

    @property
    def public(self) -> bytes:
        return self.key.public_key().public_bytes_raw()

    def take_in(self, news: News, now: int) -> tuple[bool, Notice | None]:
        """(whether the whole log has to be pulled, a fork that was caught)."""
        federation = self.replica.federation
        if isinstance(news, Notice):
            if news.kind is Kind.DECREE:
                self.replica.roll.take_decree(news.records[0], now)
            else:
                self.replica.take_fork(news.records)
            return False, None
        try:
            self._apply(self.replica.take_log(news.certificate, news.head, news.listings, now))
        except LogIncomplete:
            return True, None
        except ForkDetected:
            notice = Notice(federation, Kind.FORK, self.replica.proof_against(news.head))
            self.replica.take_fork(notice.records)
            return False, notice
        return False, None

    def take_whole(self, page: sync.Page, records: list[Record], now: int, *, whole: bool) -> None:
        self._apply(self.replica.take_log(page.certificate, page.head, records, now, whole=whole))

    def _apply(self, change) -> None:
        if change is None:
            return
        for id_ in change.before.lines.keys() - change.after.lines.keys():
            self.records.pop((change.owner, id_), None)
        for signed in change.news:
            self.records[change.owner, signed.listing.learnware_id] = signed.record

    # -- as an owner -------------------------------------------------------------------------------------------

    def listing(self, name: str, seq: int, now: int, status="live") -> SignedListing:
        id_ = hashlib.sha256(name.encode()).digest()
        plain = Listing(self.public, self.replica.federation, id_, b"R" * 32, seq, now, status, SemanticSpec(name))
        return sign_listing(self.key, plain)

    def head(self, lines, epoch: int, seq: int, now: int, **changes) -> SignedHead:
        counted = [line for line in lines if line.counted]
        plain = Head(
            self.public, self.replica.federation, epoch, seq, len(counted), root_of(counted), now,
            now + limits.HEAD_LIFETIME,
        )  # fmt: skip
        return sign_head(self.key, msgspec.structs.replace(plain, **changes))

    def append(self, news: list[SignedListing], now: int) -> Announcement:
        log = self.replica.log(self.public)
        lines = dict(log.lines) | {each.listing.learnware_id: Line.of(each) for each in news}
        epoch, seq = log.position
        head = self.head(lines.values(), epoch or now, seq + len(news) + 1, now)
        return self._sign(head, [each.record for each in news], now)

    def new_epoch(self, above: int, now: int) -> Announcement:
        kept = [record for (owner, _), record in self.records.items() if owner == self.public]
        opened = [open_listing(each, owner=self.public, federation=self.replica.federation) for each in kept]
        lines = [Line.of(each) for each in opened if each.listing.status != "withdrawn"]
        seq = max([self.replica.log(self.public).position[1], *(line.seq for line in lines)], default=0) + 1
        live = {line.digest for line in lines}
        records = [record for record in kept if record.digest in live]
        return self._sign(self.head(lines, max(now, above + 1), seq, now), records, now, whole=True)

    def _sign(self, head: SignedHead, records: list[Record], now: int, whole=False) -> Announcement:
        self._apply(self.replica.take_log(self.certificate, head.record, records, now, whole=whole))
        return Announcement(self.replica.federation, head.record, self.certificate, tuple(records))


class World:
    """``loss`` is the share of frames lost; ``hostile`` of the nodes are members that do not keep the rules."""

    def __init__(self, seed: int, nodes: int = 30, hostile: int = 4, loss: float = 0.4) -> None:
        self.dice = random.Random(seed)
        self.seed, self.loss, self.now = seed, loss, START
        founder = key_of(seed, 0)
        charter = Charter("simulated", (founder.public_key().public_bytes_raw(),), START)
        self.federation = found(founder, charter).digest
        self.founder, self.charter = founder, charter
        self.nodes = [self._node(number) for number in range(nodes)]
        self.honest, self.hostile = self.nodes[: nodes - hostile], self.nodes[nodes - hostile :]
        self.forged: set[bytes] = set()  # hashes of records that must enter nowhere
        self.late: list[tuple[Node, bytes]] = []
        self.decree = Decree(self.federation, charter.admins[0], 0, START)
        self.names = 0
        self.revoked: set[bytes] = set()

    def _node(self, number: int) -> Node:
        key = key_of(self.seed, number)
        public = key.public_key().public_bytes_raw()
        certificate = Certificate(
            self.federation, public, f"n{number}", START, START + limits.CERTIFICATE_LIFETIME, START, max_listings=50
        )
        skew = self.dice.randint(-SKEW // 2, SKEW // 2)
        return Node(key, skew, Replica(Roll(self.federation, self.charter)), certify(self.founder, certificate))

    def clock(self, node: Node) -> int:
        return self.now + node.skew

    # -- the network -------------------------------------------------------------------------------------------

    def reach(self, one: Node, other: Node) -> bool:
        return one.up and other.up and one.side == other.side and self.dice.random() >= self.loss

    def gossip(self, source: Node, news: News) -> None:
        """To some: now, twice, or late and so out of order."""
        frame = encode(news)
        for node in self.dice.sample(self.honest, min(6, len(self.honest))):
            if node is not source and self.reach(source, node):
                for _ in range(self.dice.choice((1, 1, 1, 2))):
                    if self.dice.random() < 0.3:
                        self.late.append((node, frame))
                    else:
                        self.deliver(node, frame)

    def deliver(self, node: Node, frame: bytes) -> None:
        if not node.up:
            return
        try:
            news = decode(frame, News, limit=limits.GOSSIP_MESSAGE)
            _, caught = node.take_in(news, self.clock(node))
        except AtollError:
            return
        if caught is not None:
            self.gossip(node, caught)

    def round(self) -> None:
        """Every node that is up syncs with one that it can reach."""
        for node in self.dice.sample(self.honest, len(self.honest)):
            other = self.dice.choice(self.honest)
            if node.up and other is not node and self.reach(node, other):
                self.synchronise(node, other)
                self.synchronise(other, node)
        self.now += TICK

    def synchronise(self, puller: Node, holder: Node) -> None:
        """As node/p2p/sync.py does it: compare, then pull; the offer is the other call."""
        fed, now = self.federation, self.clock(puller)
        mine, theirs = puller.replica.positions(now), holder.replica.positions(self.clock(holder))
        buckets = sync.differing(sync.digests(fed, mine), sync.digests(fed, theirs))
        pull, _ = sync.plan(fed, mine, sync.entries_in(fed, theirs, buckets), buckets)
        for entry in pull:
            if not puller.replica.wants(entry.kind, entry.owner):
                continue
            if self.dice.random() < self.loss / 4:
                return  # the stream breaks
            with contextlib.suppress(AtollError):
                self._pull(puller, holder, entry, now)

    def _pull(self, puller: Node, holder: Node, entry: Entry, now: int) -> None:
        if entry.kind is Kind.DECREE:
            puller.take_in(
                Notice(self.federation, Kind.DECREE, (holder.replica.roll.decrees[entry.owner].record,)), now
            )
        elif entry.kind is Kind.FORK:
            puller.take_in(Notice(self.federation, Kind.FORK, holder.replica.forks[entry.owner].records), now)
        elif entry.owner == puller.public:
            if holder.replica.log(entry.owner).position >= puller.replica.log(entry.owner).position:
                self.gossip(puller, puller.new_epoch(entry.epoch, now))
        else:
            epoch, seq = puller.replica.log(entry.owner).position
            since = seq if epoch == entry.epoch else 0
            try:
                self._pull_log(puller, holder, entry.owner, since, now)
            except LogIncomplete:
                self._pull_log(puller, holder, entry.owner, 0, now)

    def _pull_log(self, puller: Node, holder: Node, owner: bytes, since: int, now: int) -> None:
        log: OwnerLog = holder.replica.log(owner)
        records = [holder.records[owner, line.learnware_id] for line in log.since(since)]
        certificate = holder.replica.roll.certificate(owner)[1]
        page = decode(encode(sync.Page((), log.head.record, certificate, False)), sync.Page, limit=limits.CONTROL_FRAME)
        try:
            puller.take_whole(page, records, now, whole=since == 0)
        except ForkDetected:
            proof = Notice(self.federation, Kind.FORK, puller.replica.proof_against(page.head))
            puller.take_in(proof, now)
            self.gossip(puller, proof)

    # -- what happens ------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Some events, at a random moment."""
        for _ in range(self.dice.randint(1, 6)):
            self.dice.choice(
                [self.publish, self.publish, self.publish, self.withdraw, self.renew, self.decree_something, self.crash,
                 self.split, self.forge, self.replay, self.fork, self.bloat, self.old_backup]
            )()  # fmt: skip
        for node, frame in self.dice.sample(self.late, len(self.late)):
            self.deliver(node, frame)
        self.late.clear()
        self.round()

    def someone(self) -> Node | None:
        up = [node for node in self.honest if node.up]
        return self.dice.choice(up) if up else None

    def publish(self) -> None:
        if node := self.someone():
            with contextlib.suppress(AtollError):  # it may be revoked
                self.names += 1
                seq = node.replica.log(node.public).position[1] + 1
                news = node.append([node.listing(f"l{self.names}", seq, self.clock(node))], self.clock(node))
                self.gossip(node, news)

    def withdraw(self) -> None:
        node = self.someone()
        live = [line for line in node.replica.log(node.public).lines.values() if line.counted] if node else []
        if live:
            with contextlib.suppress(AtollError):
                line = self.dice.choice(live)
                seq, now = node.replica.log(node.public).position[1] + 1, self.clock(node)
                record = node.records[node.public, line.learnware_id]
                old = open_listing(record, owner=node.public, federation=self.federation).listing
                gone = msgspec.structs.replace(old, status="withdrawn", seq=seq, issued_at=now)
                self.gossip(node, node.append([sign_listing(node.key, gone)], now))

    def renew(self) -> None:
        node = self.someone()
        if node and node.replica.log(node.public).head:
            with contextlib.suppress(AtollError):
                self.gossip(node, node.append([], self.clock(node)))

    def decree_something(self) -> None:
        """The founder (node 0) revokes a member or takes a learnware down; seldom."""
        founder = self.nodes[0]
        if not founder.up or self.dice.random() < 0.7:
            return
        if self.dice.random() < 0.5 and len(self.revoked) < 3:
            member = self.dice.choice(self.nodes[1:]).public
            self.revoked.add(member)
            change = {"revoked": (*self.decree.revoked, Revocation(member, self.now))}
        else:
            owner = self.dice.choice(self.honest).public
            lines = founder.replica.log(owner).lines
            if not lines:
                return
            change = {"takedowns": (*self.decree.takedowns, Takedown(owner, self.dice.choice(sorted(lines))))}
        self.decree = msgspec.structs.replace(self.decree, seq=self.decree.seq + 1, issued_at=self.now, **change)
        notice = Notice(self.federation, Kind.DECREE, (sign_decree(self.founder, self.decree).record,))
        founder.take_in(notice, self.clock(founder))
        self.gossip(founder, notice)

    def crash(self) -> None:
        """Down, or up again with all that was acknowledged (the store is durable)."""
        node = self.dice.choice(self.honest[1:])
        node.up = not node.up

    def old_backup(self) -> None:
        """A node comes back without its own last publications: peers know more of its log than it does."""
        node = self.someone()
        log = node.replica.log(node.public) if node else None
        if log and log.head and len(log.lines) > 1:
            kept = dict(sorted(log.lines.items())[:-1])
            epoch, seq = log.position
            old = node.head(kept.values(), epoch, max(1, seq - 2), self.clock(node))
            node.replica.restore(
                {**node.replica.logs, node.public: OwnerLog(old, kept)}, node.replica.forks.values(), ()
            )
            self.forged.discard(old.record.digest)
            with contextlib.suppress(AtollError):  # as `atoll restore` does: a new epoch before anything else
                self.gossip(node, node.new_epoch(epoch, self.clock(node)))

    def split(self) -> None:
        """The network splits in two, or heals."""
        healed = self.dice.random() < 0.5
        for node in self.honest:
            node.side = 0 if healed else self.dice.randint(0, 1)

    # -- hostile members ---------------------------------------------------------------------------------------

    def forge(self) -> None:
        """A listing and head in another owner's name; a decree by no admin; a certificate of one's own making."""
        liar, victim = self.dice.choice(self.hostile), self.dice.choice(self.honest)
        listing = liar.listing("forged", 2**40, self.now)
        body = msgspec.structs.replace(listing.listing, owner=victim.public)
        false = sign_listing(liar.key, body)
        head = liar.head([Line.of(false)], 2**41, 2**41, self.now, owner=victim.public)
        self.forged |= {false.record.digest, head.record.digest}
        self.gossip(liar, Announcement(self.federation, head.record, victim.certificate, (false.record,)))
        decree = Decree(self.federation, liar.public, 1, self.now, revoked=(Revocation(victim.public, 2**50),))
        record = sign_decree(liar.key, decree).record
        self.forged.add(record.digest)
        self.gossip(liar, Notice(self.federation, Kind.DECREE, (record,)))
        empty = liar.head([], 2**41, 2**41, self.now, owner=victim.public)
        usurped = msgspec.structs.replace(decree, admin=self.charter.admins[0], seq=2**40)
        record = sign_decree(liar.key, usurped).record
        self.forged |= {empty.record.digest, record.digest}
        self.gossip(liar, Announcement(self.federation, empty.record, victim.certificate, ()))
        self.gossip(liar, Notice(self.federation, Kind.DECREE, (record,)))
        stranger = key_of(self.seed, 10_000 + self.dice.randrange(1000))
        outsider = Node(stranger, 0, liar.replica, liar.certificate)
        own = Certificate(self.federation, outsider.public, "x", START, START + limits.CERTIFICATE_LIFETIME, START)
        listing = outsider.listing("outsider", 1, self.now)
        head = outsider.head([Line.of(listing)], self.now, 2, self.now)
        self.forged |= {listing.record.digest, head.record.digest}
        false_certificate = certify(stranger, own)
        self.gossip(liar, Announcement(self.federation, head.record, false_certificate, (listing.record,)))

    def replay(self) -> None:
        """Old heads with old listings, of honest owners, again."""
        liar, victim = self.dice.choice(self.hostile), self.dice.choice(self.honest)
        log = self.dice.choice(self.honest).replica.log(victim.public)
        if log.head:
            self.gossip(liar, Announcement(self.federation, log.head.record, victim.certificate, ()))

    def fork(self) -> None:
        """Two histories of one member, one to some and the other to others."""
        liar = self.dice.choice(self.hostile)
        epoch, seq = START + self.dice.randrange(3), self.dice.randint(1, 3)
        for name in ("this", "that"):
            listing = liar.listing(name, seq, self.now)
            head = liar.head([Line.of(listing)], epoch, seq, self.now)
            self.gossip(liar, Announcement(self.federation, head.record, liar.certificate, (listing.record,)))

    def bloat(self) -> None:
        """More listings than the quota, a listing that is too large, a log without end."""
        liar = self.dice.choice(self.hostile)
        many = [liar.listing(f"b{number}", number + 1, self.now) for number in range(51)]
        head = liar.head(map(Line.of, many), self.now, 60, self.now)
        self.forged |= {head.record.digest, *(each.record.digest for each in many)}
        self.gossip(liar, Announcement(self.federation, head.record, liar.certificate, tuple(m.record for m in many)))
        long = msgspec.structs.replace(many[0].listing, semantic=SemanticSpec("long", "x" * 5000))
        with contextlib.suppress(AtollError):
            sign_listing(liar.key, long)
        self.gossip(liar, Announcement(self.federation, head.record, liar.certificate, (Record(b"\xff" * 5000, b""),)))

    # -- and then ----------------------------------------------------------------------------------------------

    def heal(self) -> None:
        for node in self.honest:
            node.up, node.side = True, 0

    def views(self) -> set[frozenset[tuple[bytes, Line]]]:
        """The different catalogues that honest nodes show; owners that lie about their own history aside."""
        liars = {node.public for node in self.hostile}
        return {
            frozenset(pair for pair in node.replica.visible(self.now) if pair[0] not in liars) for node in self.honest
        }

    def whole_views(self) -> set[frozenset[tuple[bytes, Line]]]:
        """As :meth:`views`, liars included."""
        return {frozenset(node.replica.visible(self.now)) for node in self.honest}

    def rounds_until_equal(self, most: int) -> int:
        for number in range(most):
            if len(self.whole_views()) == 1:
                return number
            self.round()
        return most
