"""Those whom this node does not know: whether they may search, how often they may, and how often they may sign in."""

from __future__ import annotations

import ipaddress
import math

from aiohttp import web
from atoll.node.api.proxies import address_of
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
        require(self._searches, address(request), now, "searches from your address", "wait, or use a token")

    def sign_in(self, request: web.Request, now: float) -> None:
        """Count an attempt to sign in; TooOften beyond the rate."""
        require(self._sign_ins, address(request), now, "attempts to sign in from your address", "wait")


def require(buckets: Buckets, key: str, now: float, what: str, hint: str) -> None:
    """Count one more; TooOften, with the seconds to wait, beyond what the buckets hold."""
    if not buckets.take(key, now):
        pause = buckets.pause(key, now)
        raise TooOften(f"too many {what}", hint=f"{hint}: one more in {math.ceil(pause)} s", retry_after=pause)


def unknown() -> Unauthorised:
    """What is said to somebody unknown where only known users are let in."""
    return Unauthorised("this needs a token", hint="send `Authorization: Bearer ...`, or pass --token")


def address(request: web.Request) -> str:
    """Of the client: of the connection, or what a trusted proxy says of it (proxies.as_sent)."""
    return host_of(request.remote or "")


def host_of(remote: str) -> str:
    """What counts as one address: one of IPv4, or a network of IPv6, which one host may have."""
    found = address_of(remote)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found) if found is not None else remote.partition("%")[0]
