"""``/atoll/peers/1``: one member tells another which members of a shared federation it knows, and where they listen.

What is told is hearsay: an address counts only once a dial has proven who is there. Outsiders are told nothing.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from atoll.protocol import limits
from atoll.protocol.errors import ProtocolError
from atoll.protocol.ids import public_key
from atoll.protocol.messages import Message

PROTOCOL = "/atoll/peers/1"
Address = Annotated[str, msgspec.Meta(min_length=1, max_length=limits.ADDRESS)]


class Acquaintance(msgspec.Struct, frozen=True):
    """A member and where it is said to listen."""

    peer: Annotated[str, msgspec.Meta(max_length=64)]
    name: Annotated[str, msgspec.Meta(max_length=limits.NAME)]
    addresses: Annotated[tuple[Address, ...], msgspec.Meta(max_length=limits.ADDRESSES)]


class PeersRequest(Message, frozen=True):
    """Ask for members of a federation that both are in."""

    federation: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class PeersReply(Message, frozen=True):
    """Some of the members that the answerer knows, neither itself nor the asker."""

    peers: Annotated[tuple[Acquaintance, ...], msgspec.Meta(max_length=limits.PEERS_TOLD)]


def peer_of(address: str) -> str:
    """The peer that a multiaddr leads to; ProtocolError unless it ends in ``/p2p/<peer id>``."""
    _, _, peer = address.rpartition("/p2p/")
    if not address.startswith("/") or peer == address:
        raise ProtocolError(f"{address[:200]!r} is not the address of a peer", hint="it ends in /p2p/<peer id>")
    public_key(peer)
    return peer


def leading_to(peer: str, addresses: tuple[str, ...]) -> tuple[str, ...]:
    """At most ADDRESSES of ``addresses``, each once and ending in this peer's id; those of others are left out."""
    complete = (a if "/p2p/" in a.rpartition("/p2p-circuit")[2] else f"{a}/p2p/{peer}" for a in addresses)
    good = (a for a in complete if a.startswith("/") and a.endswith(f"/p2p/{peer}") and len(a) <= limits.ADDRESS)
    return tuple(dict.fromkeys(good))[: limits.ADDRESSES]
