"""Those whom this node does not know: whether they may search, how often they may, and how often they may sign in."""

from __future__ import annotations

import ipaddress

from aiohttp import web
from atoll.node.errors import TooOften, Unauthorised
from atoll.node.p2p.buckets import Buckets

SEARCHES = (0.5, 20.0)  # a second and at once, from one address
SIGN_INS = (0.1, 10.0)


class Visitors:
    """Lives in the asyncio loop. An address is one of IPv4, or a network of IPv6 (64 bits), which one host may have."""

    def __init__(self, searching: bool) -> None:
        self.searching = searching
        self._searches = Buckets(*SEARCHES)
        self._sign_ins = Buckets(*SIGN_INS)

    def admit(self) -> None:
        """Unauthorised unless the administrator lets anybody search."""
        if not self.searching:
            raise unknown()

    def search(self, request: web.Request, now: float) -> None:
        """Count a search at ``now`` (seconds); Unauthorised where there are none, TooOften beyond the rate."""
        self.admit()
        if not self._searches.take(_address(request), now):
            raise TooOften("too many searches from your address", hint="wait a few seconds, or use a token")

    def sign_in(self, request: web.Request, now: float) -> None:
        """Count an attempt to sign in; TooOften beyond the rate."""
        if not self._sign_ins.take(_address(request), now):
            raise TooOften("too many attempts to sign in from your address", hint="wait a minute")


def unknown() -> Unauthorised:
    """What is said to somebody unknown where only known users are let in."""
    return Unauthorised("this needs a token", hint="send `Authorization: Bearer ...`, or pass --token")


def _address(request: web.Request) -> str:
    """Of the connection: what a header says of it anybody can say."""
    remote = (request.remote or "").partition("%")[0]
    try:
        address = ipaddress.ip_address(remote)
    except ValueError:
        return remote
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
