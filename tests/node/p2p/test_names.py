"""Addresses with names: places of all that the name has, and what is none is said."""

import socket

import pytest
import trio
from atoll.node.p2p.names import info_of

PEER = "12D3KooWRKm4kSAmMC9z6hZZFfhyorkAm9Gxffibbxapt8ZYucKH"


def places(address):
    info = trio.run(info_of, address)
    assert str(info.peer_id) == PEER
    return [str(each) for each in info.addrs]


def test_a_name_becomes_its_ip_addresses():
    assert places(f"/dns4/localhost/tcp/8471/p2p/{PEER}") == ["/ip4/127.0.0.1/tcp/8471"]
    assert "/ip4/127.0.0.1/tcp/8471" in places(f"/dns/localhost/tcp/8471/p2p/{PEER}")


def test_an_ip_address_stays_what_it_is():
    assert places(f"/ip4/192.0.2.7/tcp/1/p2p/{PEER}") == ["/ip4/192.0.2.7/tcp/1"]


def test_addresses_of_a_link_are_left_out_of_those_of_a_name(monkeypatch):
    link = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1%eth0", 0, 0, 2))
    found = [link, (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::7", 0, 0, 0))]

    async def resolved(*_, **__):
        return found

    monkeypatch.setattr(trio.socket, "getaddrinfo", resolved)
    assert places(f"/dns/node.example/tcp/8471/p2p/{PEER}") == ["/ip6/2001:db8::7/tcp/8471"]
    found[:] = [link]
    with pytest.raises(OSError, match="no address that can be dialled"):
        places(f"/dns/node.example/tcp/8471/p2p/{PEER}")


@pytest.mark.parametrize("address", ["/dns4/nowhere.invalid/tcp/1", "/dns4//tcp/1", "/dns4/localhost/tcp/1"])
def test_what_leads_to_nobody_is_an_error(address):
    peer = "" if address.startswith("/dns4/localhost") else f"/p2p/{PEER}"
    with pytest.raises(Exception, match=r".") as refused:
        trio.run(info_of, address + peer)
    assert isinstance(refused.value, OSError | ValueError)
