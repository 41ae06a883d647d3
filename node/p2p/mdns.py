"""Multicast DNS: telling the local network where this node listens, and hearing of others. No federation is named.

What is heard is hearsay like any other. The service is that of a private network in libp2p's specification, so other
users of libp2p are not dialled. All of zeroconf runs in threads of its own.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Sequence

import trio
from atoll.node.p2p.host import shielded
from atoll.protocol.errors import ProtocolError
from libp2p.discovery.mdns.broadcaster import PeerBroadcaster
from libp2p.discovery.mdns.listener import PeerListener
from libp2p.discovery.mdns.utils import stringGen
from libp2p.peer.id import ID
from multiaddr import Multiaddr
from zeroconf import Zeroconf

log = logging.getLogger("atoll.p2p")

SERVICE = "_p2p-atoll._udp.local."
NAME = 63  # characters of the random name of a node, the most that DNS allows

Hear = Callable[[str, str, tuple[str, ...]], None]


async def run(peer: str, addresses: Sequence[str], hear: Hear) -> None:
    """Until cancelled. ``hear(peer, "", addresses)`` is called from a thread of zeroconf."""
    try:
        discovery = await trio.to_thread.run_sync(_Discovery, peer, addresses, hear)
    except OSError as error:
        log.warning("no multicast DNS: %s", error)
        return
    try:
        await trio.sleep_forever()
    finally:
        with shielded(math.inf):
            await trio.to_thread.run_sync(discovery.close)


class _Discovery:
    """Both methods block. A node that listens nowhere only hears."""

    def __init__(self, peer: str, addresses: Sequence[str], hear: Hear) -> None:
        name = f"{stringGen(NAME)}.{SERVICE}"
        self._zeroconf = Zeroconf()
        self._listener = PeerListener(_Ear(hear), self._zeroconf, SERVICE, name)
        self._broadcaster: PeerBroadcaster | None = None
        if addresses:
            port = int(Multiaddr(addresses[0]).value_for_protocol("tcp"))
            self._broadcaster = PeerBroadcaster(self._zeroconf, SERVICE, name, peer, port, list(addresses))
            self._broadcaster.register()

    def close(self) -> None:
        if self._broadcaster is not None:
            self._broadcaster.unregister()
        self._listener.stop()
        self._zeroconf.close()


class _Ear:
    """Stands where libp2p expects its peerstore, which is not for other threads."""

    def __init__(self, hear: Hear) -> None:
        self._hear = hear

    def add_addrs(self, peer: ID, addresses: Sequence[Multiaddr], ttl: int) -> None:
        with contextlib.suppress(ProtocolError):  # a peer with a key of another kind
            self._hear(str(peer), "", tuple(map(str, addresses)))

    def clear_addrs(self, peer: ID) -> None:
        pass  # it may be back
