"""Real libp2p hosts on loopback. Every scenario runs in its own trio loop and is bounded in time."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count

import pytest
import trio
from atoll.node.p2p.gossip import Gossip
from atoll.node.p2p.host import listen_addresses, open_host
from atoll.node.p2p.streams import Streams
from libp2p.peer.id import ID

LOOPBACK = "/ip4/127.0.0.1/tcp/0"
TOPIC = "atoll/1/reef/catalogue"


@pytest.fixture
def run():
    """Run a scenario in trio, for at most half a minute."""

    def run(scenario: Callable[..., Awaitable[object]], *args: object, seconds: float = 30.0) -> object:
        async def bounded() -> object:
            with trio.fail_after(seconds):
                return await scenario(*args)

        return trio.run(bounded, strict_exception_groups=True)

    return run


@pytest.fixture
def hosts():
    """``async with hosts(3) as (a, b, c)``: hosts with keys of their own, not connected."""
    seeds = count(1)

    @asynccontextmanager
    async def hosts(number: int, **options):
        async with AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(open_host(bytes([next(seeds)] * 32), LOOPBACK, **options))
                for _ in range(number)
            ]

    return hosts


@pytest.fixture
def address_of():
    return lambda host: listen_addresses(host)[0]


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Node:
    """A host with gossip; whom it admits and takes for members is ours to say."""

    def __init__(self, host):
        self.host = host
        self.name = str(host.get_id())
        self.admitted: set[str] = set()
        self.members: set[tuple[str, str]] = set()
        self.blamed: list[str] = []
        self.streams = Streams(host)
        self.gossip = Gossip(
            host,
            member=lambda topic, peer: (topic, peer) in self.members,
            admitted=lambda peer: peer in self.admitted,
            on_misbehaviour=lambda peer, why: self.blamed.append(peer),
        )
        self.send, self.received = trio.open_memory_channel(1000)
        self.verdict = True

    async def accept(self, author, data):
        if isinstance(self.verdict, Exception):
            raise self.verdict
        if self.verdict:
            self.send.send_nowait((author, data))
        return self.verdict

    async def trust(self, other, topic=TOPIC):
        self.admitted.add(other.name)
        self.members.add((topic, other.name))
        await self.gossip.refresh(other.name)


@pytest.fixture
def nodes(hosts):
    """``async with nodes(3) as (a, b, c)``: gossiping, subscribed to TOPIC, not connected, without trust."""

    @asynccontextmanager
    async def nodes(number):
        async with AsyncExitStack() as stack:
            made = [Node(host) for host in await stack.enter_async_context(hosts(number))]
            nursery = await stack.enter_async_context(trio.open_nursery())
            for node in made:
                await nursery.start(node.gossip.run)
                await node.gossip.subscribe(TOPIC, node.accept)
            yield made
            nursery.cancel_scope.cancel()

    return nodes


@pytest.fixture
def join(address_of):
    async def join(a, b, topic=TOPIC):
        await a.streams.connect(address_of(b.host), deadline=5)
        await a.trust(b, topic)
        await b.trust(a, topic)
        for one, other in ((a, b), (b, a)):
            pubsub = one.gossip._pubsub
            await pubsub.wait_for_subscription(ID.from_base58(other.name), topic, timeout=10)
            await pubsub.wait_for_mesh(ID.from_base58(other.name), topic, timeout=10)

    return join


@pytest.fixture
def make_node():
    return Node


@pytest.fixture
def linked(hosts, address_of):
    """``async with linked(on_misbehaviour=...) as (server, client, peer)``: the options are the server's."""

    @asynccontextmanager
    async def linked(**options):
        async with hosts(2) as (first, second):
            server, client = Streams(first, **options), Streams(second)
            yield server, client, await client.connect(address_of(first), deadline=5)

    return linked
