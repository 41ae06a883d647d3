"""Members on one local network find each other by multicast DNS, which tells nothing of their federations."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest
from atoll.node.clock import now_ms
from atoll.node.p2p.mdns import SERVICE
from zeroconf import ServiceBrowser, ServiceListener, Zeroconf


@pytest.fixture(autouse=True)
def multicast():
    """Skip where the machine does not pass multicast on to itself."""
    group = "224.0.0.251"
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("", 0))
        receiver.settimeout(2.0)
        try:
            receiver.setsockopt(
                socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton("127.0.0.1")
            )
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            sender.sendto(b"atoll", (group, receiver.getsockname()[1]))
            receiver.recv(16)
        except OSError as error:
            pytest.skip(f"no multicast on loopback: {error}")


class Overheard(ServiceListener):
    """What is announced, as any program on the network can read it."""

    def __init__(self) -> None:
        self.records: dict[str, dict[bytes, bytes | None]] = {}
        self.more = threading.Event()

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        found = zc.get_service_info(type_, name)
        if found:
            self.records[name] = found.properties
        self.more.set()

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None: ...

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self.records.pop(name, None)
        self.more.set()


@pytest.fixture
def overheard():
    network, listener = Zeroconf(), Overheard()
    ServiceBrowser(network, SERVICE, listener=listener)
    yield listener
    network.close()


def heard_until(listener, condition):
    while not condition():
        assert listener.more.wait(20)
        listener.more.clear()


async def test_members_on_one_network_find_each_other(start, monkeypatch, overheard, until):
    monkeypatch.setenv("ATOLL__P2P__MDNS", "true")
    a, b = await start("a", "b")
    federation = bytes.fromhex((await a.client.create_federation("test")).id)
    invite = a.node.administration.invite(federation, (), now_ms(), 60_000)
    charter, certificate = a.node.administration.redeem(federation, invite.token, b.node.identity.public, "", now_ms())
    b.node.federations.accept(charter, certificate, now_ms())
    await b.node.network.joined(federation)
    await until(a, lambda: b.node.identity.peer in a.node.peers.live())
    addresses = {node.node.network.addresses[0].encode() for node in (a, b)}
    await asyncio.to_thread(heard_until, overheard, lambda: len(overheard.records) == 2)
    assert {value for record in overheard.records.values() for value in record.values()} == addresses


async def test_what_was_announced_is_taken_back_at_the_end(make_home, start_home, monkeypatch, overheard):
    monkeypatch.setenv("ATOLL__P2P__MDNS", "true")
    before = threads()
    async with start_home(*make_home("node")):
        await asyncio.to_thread(heard_until, overheard, lambda: len(overheard.records) == 1)
        assert threads() > before
    await asyncio.to_thread(heard_until, overheard, lambda: not overheard.records)
    assert threads() == before


def threads():
    return {thread.name for thread in threading.enumerate() if "zeroconf" in thread.name.lower()}


async def test_only_those_are_announced_who_ask_for_it(start, monkeypatch, overheard):
    await start("silent")
    monkeypatch.setenv("ATOLL__P2P__MDNS", "true")
    (node,) = await start("node")
    await asyncio.to_thread(heard_until, overheard, lambda: len(overheard.records) > 0)
    ((record,),) = [each.values() for each in overheard.records.values()]
    assert record == node.node.network.addresses[0].encode()
