"""Names in addresses: libp2p dials IP addresses, institutions have names."""

from __future__ import annotations

import socket

import trio
from libp2p.peer.peerinfo import PeerInfo, info_from_p2p_addr
from multiaddr import Multiaddr

FAMILIES = {"dns": socket.AF_UNSPEC, "dns4": socket.AF_INET, "dns6": socket.AF_INET6}
MOST = 8  # addresses of one name


async def info_of(address: str) -> PeerInfo:
    """The peer and the places of a multiaddr that ends in ``/p2p/<peer id>``; a name is asked of the system's resolver.

    Raises what multiaddr raises for what is none, and OSError for a name that nobody knows.
    """
    info = info_from_p2p_addr(Multiaddr(address))
    _, kind, name, *rest = address.split("/")
    if kind not in FAMILIES:
        return info
    found = await trio.socket.getaddrinfo(name, None, family=FAMILIES[kind], type=socket.SOCK_STREAM)
    kinds = {socket.AF_INET: "ip4", socket.AF_INET6: "ip6"}
    places = [
        f"/{kinds[family]}/{place[0]}/{'/'.join(rest)}"
        for family, _, _, _, place in found
        if family in kinds and "%" not in str(place[0])  # one of a link, which no address of a peer can name
    ]
    if not places:
        raise OSError(f"{name} has no address that can be dialled")
    infos = [info_from_p2p_addr(Multiaddr(each)) for each in places[:MOST]]
    return PeerInfo(info.peer_id, [each for one in infos for each in one.addrs])
