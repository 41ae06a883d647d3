"""Anti-entropy over streams: compare, pull, offer (protocol.sync); missing islands are fetched with it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio
from atoll.engine.errors import AtollError
from atoll.engine.islands import MAX_DEFINITION, Island
from atoll.node.clock import now_ms
from atoll.node.p2p.exchange import request
from atoll.node.p2p.fetch import fetch_small
from atoll.node.p2p.peers import Peers
from atoll.node.p2p.streams import Channel, Streams
from atoll.node.store.catalogue import Catalogue
from atoll.node.store.federations import Federations
from atoll.protocol import limits
from atoll.protocol.errors import LogIncomplete, ProtocolError
from atoll.protocol.gossip import Announcement, News
from atoll.protocol.heads import open_head
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing
from atoll.protocol.messages import Message
from atoll.protocol.signing import Record, read
from atoll.protocol.sync import (
    ENTRIES,
    PROTOCOL,
    Compare,
    Different,
    Entry,
    Kind,
    Notice,
    Offer,
    Page,
    Pull,
    PullNotice,
    Request,
    Thanks,
    differing,
    digests,
    entries_in,
    plan,
)  # fmt: skip

log = logging.getLogger("atoll.p2p")
MAX_PAGES = 1000


class Replicator:
    """Keeps the catalogue level with peers. ``wanted(peer)`` asks the network to sync with a peer soon;
    ``behind(federation, epoch)`` is called (in a worker thread) when a peer has shown a head of this node's own log
    that it does not know."""

    def __init__(
        self, own: bytes, catalogue: Catalogue, federations: Federations, peers: Peers,
        wanted: Callable[[str], None], behind: Callable[[bytes, int], None],
    ) -> None:  # fmt: skip
        self._own = own
        self._catalogue = catalogue
        self._federations = federations
        self._peers = peers
        self._wanted = wanted
        self._behind = behind

    def answer(self, peer: str, message: Request | Announcement) -> Message:
        """Serve one request (in a worker thread); only federations shared with the peer exist for it."""
        self._peers.require_shared(peer, message.federation)
        match message:
            case Compare():
                return self._compare(message)
            case Pull():
                return self._page(message)
            case PullNotice():
                return self._catalogue.notice(message.federation, message.kind, message.owner)
            case Announcement() | Notice():
                return self._told(peer, message)
            case Offer():
                mine = self._catalogue.positions(message.federation, now_ms())
                if self._wanted_of(message.federation, plan(message.federation, mine, message.entries, frozenset())[0]):
                    trio.from_thread.run_sync(self._wanted, peer)
                return Thanks()

    def _told(self, peer: str, news: News) -> Message:
        try:
            self._catalogue.take_in(news, now_ms())
        except LogIncomplete:
            trio.from_thread.run_sync(self._wanted, peer)
        return Thanks()

    async def sync(self, streams: Streams, peer: str, deadline: float) -> int:
        """Level every shared federation with ``peer``; returns how many logs and notices were news."""
        advanced = 0
        async with streams.open(peer, PROTOCOL, deadline=deadline) as channel:
            for federation in sorted(self._peers.shared(peer)):
                advanced += await self._sync_one(channel, federation)
        for federation in sorted(self._peers.shared(peer)):
            await self.fetch_islands(streams, federation, peer, deadline)
        return advanced

    async def fetch_islands(self, streams: Streams, federation: bytes, peer: str, deadline: float) -> None:
        """Fetch islands on first sight, from ``peer`` or an owner that uses them."""
        for digest, owners in self._catalogue.missing_islands(federation).items():
            for holder in dict.fromkeys([peer, *map(peer_id, owners)]):
                if federation not in self._peers.shared(holder):
                    continue
                try:
                    data = await fetch_small(streams, holder, federation, "island", digest, MAX_DEFINITION, deadline)
                    island = Island.from_definition(data)
                except AtollError:
                    continue
                if island.digest == digest:
                    await trio.to_thread.run_sync(self._catalogue.add_island, island)
                    break

    def _compare(self, message: Compare) -> Different:
        mine = self._catalogue.positions(message.federation, now_ms())
        buckets = differing(digests(message.federation, mine), message.digests)
        entries = entries_in(message.federation, mine, buckets)
        return Different(bytes(sorted(buckets)), entries[:ENTRIES], len(entries) > ENTRIES)

    def _page(self, message: Pull) -> Page:
        head, records, more = self._catalogue.page(message.federation, message.owner, message.since)
        certificate = self._federations.certificate_of(message.federation, message.owner)
        return Page(tuple(records), head, certificate, more)

    async def _sync_one(self, channel: Channel, federation: bytes) -> int:
        mine = await trio.to_thread.run_sync(self._catalogue.positions, federation, now_ms())
        compare = Compare(federation, digests(federation, mine))
        different = await request(channel, compare, Different, limit=limits.CONTROL_FRAME)
        pull, offer = plan(federation, mine, different.entries, frozenset(different.buckets))
        self._peers.note_lag(channel.peer, federation, len(offer), len(pull), now_ms())
        advanced = 0
        for entry in self._wanted_of(federation, pull):
            try:
                advanced += await self._pull(channel, federation, entry)
            except ProtocolError as error:  # one bad log must not keep the others away
                log.info("not taken in: %s", error.code, extra={"peer": channel.peer})
        if offer and not different.more:
            some = Offer(federation, tuple(offer[:ENTRIES]))
            await request(channel, some, Thanks, limit=limits.CONTROL_FRAME)
        return advanced

    def _wanted_of(self, federation: bytes, entries: list[Entry]) -> list[Entry]:
        return [entry for entry in entries if self._catalogue.wants(federation, entry.kind, entry.owner)]

    async def _pull(self, channel: Channel, federation: bytes, entry: Entry) -> bool:
        if entry.kind is not Kind.LOG:
            return await self._pull_notice(channel, federation, entry)
        if entry.owner == self._own:
            return await self._see_own_head(channel, federation)
        epoch, seq = self._catalogue.log(federation, entry.owner).position
        try:
            return await self._pull_since(channel, federation, entry.owner, seq if epoch == entry.epoch else 0)
        except LogIncomplete:
            return await self._pull_since(channel, federation, entry.owner, 0)

    async def _see_own_head(self, channel: Channel, federation: bytes) -> bool:
        """The own log is never pulled: if others can show a head of ours that we do not know, we have come back from
        a backup, and a new epoch is due."""
        answer = await request(channel, Pull(federation, self._own, 2**53), Page, limit=limits.CONTROL_FRAME)
        head = open_head(answer.head, federation=federation).head
        mine = self._catalogue.log(federation, self._own)
        known = mine.head is not None and mine.head.record.body == answer.head.body
        if head.owner == self._own and head.position >= mine.position and not known:
            await trio.to_thread.run_sync(self._behind, federation, head.epoch)
        return False

    async def _pull_notice(self, channel: Channel, federation: bytes, entry: Entry) -> bool:
        message = PullNotice(federation, entry.kind, entry.owner)
        notice = await request(channel, message, Notice, limit=limits.CONTROL_FRAME)
        if (notice.federation, notice.kind) != (federation, entry.kind):
            raise ProtocolError("the peer sent another notice than was asked for")
        return await trio.to_thread.run_sync(self._catalogue.take_notice, notice, now_ms())

    async def _pull_since(self, channel: Channel, federation: bytes, owner: bytes, since: int) -> bool:
        records: list[Record] = []
        whole, cursor = since == 0, since
        for _ in range(MAX_PAGES):
            answer = await request(channel, Pull(federation, owner, cursor), Page, limit=limits.CONTROL_FRAME)
            records += answer.listings
            if not answer.more or not answer.listings:
                break
            cursor = _last_seq(answer.listings[-1])

        def apply() -> bool:
            return self._catalogue.apply(federation, answer.certificate, answer.head, records, now_ms(), whole=whole)

        return await trio.to_thread.run_sync(apply)


def _last_seq(record: Record) -> int:
    return read(record, Listing, limit=limits.LISTING).seq
