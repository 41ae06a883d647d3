"""Anti-entropy over streams: compare, pull, offer (protocol.sync); missing islands are fetched with it."""

from __future__ import annotations

from collections.abc import Callable

import trio
from atoll.engine.errors import AtollError
from atoll.engine.islands import MAX_DEFINITION, Island
from atoll.node.clock import now_ms
from atoll.node.p2p.exchange import request
from atoll.node.p2p.fetch import fetch_small
from atoll.node.p2p.peers import Peers
from atoll.node.p2p.streams import Channel, Streams
from atoll.node.store.catalogue import Catalogue, page
from atoll.node.store.federations import Federations
from atoll.protocol import limits
from atoll.protocol.errors import LogIncomplete, NotFound, NotMember
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing
from atoll.protocol.messages import Message
from atoll.protocol.signing import Record, read
from atoll.protocol.sync import (
    PROTOCOL,
    Compare,
    Different,
    Entry,
    Offer,
    Page,
    Pull,
    Request,
    Thanks,
    differing,
    digests,
    entries_in,
    plan,
)  # fmt: skip

MAX_PAGES = 1000


class Replicator:
    """Keeps the catalogue level with peers. ``wanted(peer)`` asks the network to sync with a peer soon."""

    def __init__(
        self, catalogue: Catalogue, federations: Federations, peers: Peers, wanted: Callable[[str], None]
    ) -> None:
        self._catalogue = catalogue
        self._federations = federations
        self._peers = peers
        self._wanted = wanted

    def answer(self, peer: str, message: Request) -> Message:
        """Serve one request (in a worker thread); only federations shared with the peer exist for it."""
        if message.federation not in self._peers.shared(peer):
            raise NotMember("not a member of this federation")
        match message:
            case Compare():
                return self._compare(message)
            case Pull():
                return self._page(message)
            case Offer():
                mine = self._catalogue.positions(message.federation)
                if any((entry.epoch, entry.seq) > mine.get(entry.owner, (0, 0)) for entry in message.entries):
                    trio.from_thread.run_sync(self._wanted, peer)
                return Thanks()

    async def sync(self, streams: Streams, peer: str, deadline: float) -> int:
        """Level every shared federation with ``peer``; returns the number of logs that advanced."""
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
        mine = self._catalogue.positions(message.federation)
        buckets = differing(digests(message.federation, mine), message.digests)
        return Different(bytes(sorted(buckets)), entries_in(message.federation, mine, buckets))

    def _page(self, message: Pull) -> Page:
        log = self._catalogue.log(message.federation, message.owner)
        if log.head is None:
            raise NotFound("no such log here")
        listings, more = page(log, message.since)
        certificate = self._federations.certificate_of(message.federation, message.owner)
        return Page(tuple(signed.record for signed in listings), log.head.record, certificate, more)

    async def _sync_one(self, channel: Channel, federation: bytes) -> int:
        mine = self._catalogue.positions(federation)
        compare = Compare(federation, digests(federation, mine))
        different = await request(channel, compare, Different, limit=limits.CONTROL_FRAME)
        pull, offer = plan(federation, mine, different.entries, frozenset(different.buckets))
        advanced = 0
        for entry in pull:
            advanced += await self._pull(channel, federation, entry)
        if offer:
            await request(channel, Offer(federation, tuple(offer)), Thanks, limit=limits.CONTROL_FRAME)
        return advanced

    async def _pull(self, channel: Channel, federation: bytes, entry: Entry) -> bool:
        epoch, seq = self._catalogue.log(federation, entry.owner).position
        try:
            return await self._pull_since(channel, federation, entry.owner, seq if epoch == entry.epoch else 0)
        except LogIncomplete:
            return await self._pull_since(channel, federation, entry.owner, 0)

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
