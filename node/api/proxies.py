"""Whom to believe about where a request comes from, and under which names this node answers.

A proxy that the configuration trusts says who its client is, whether that came by https, and under which name;
anybody else's headers say nothing. A page of another site that was led to this machine by its own name (DNS rebinding)
is refused: names are checked where only this machine can connect, and wherever the configuration has a list of them.
"""

from __future__ import annotations

import ipaddress

from aiohttp import web
from atoll.node.config import HttpSection
from atoll.node.errors import WrongHost

LOCAL = "localhost"
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Proxies:
    """``as_sent`` and ``require_host`` are asked for every request."""

    def __init__(self, config: HttpSection) -> None:
        self._networks = [ipaddress.ip_network(each, strict=False) for each in config.trusted_proxies]
        self._hosts = {name.lower().rstrip(".") for name in config.hosts}
        self._checked = bool(config.hosts) or loopback(config.host)

    def trusts(self, remote: str | None) -> bool:
        """Whether that address is one of a trusted proxy."""
        found = address_of(remote or "")
        return found is not None and any(found in network for network in self._networks)

    def as_sent(self, request: web.Request) -> web.Request:
        """The request as the client sent it to the outermost proxy that is trusted; itself without one."""
        if not self.trusts(request.remote):
            return request
        scheme = _last(request, "X-Forwarded-Proto").lower()
        host = _last(request, "X-Forwarded-Host")
        return request.clone(
            remote=self._client(request),
            scheme=scheme if scheme in ("http", "https") else request.scheme,
            host=host or request.host,
        )

    def _client(self, request: web.Request) -> str:
        """From hop to hop, as far as each is trusted; what is no address, and what was said before it, is nobody's
        word: then the proxy that has passed it on is the client."""
        client = str(request.remote)
        for each in reversed(",".join(request.headers.getall("X-Forwarded-For", [])).split(",")):
            hop = host_name(each.strip())
            if address_of(hop) is None:
                break
            client = hop
            if not self.trusts(hop):
                break
        return client

    def require_host(self, request: web.Request, *, proxied: bool) -> None:
        """WrongHost if the request is for a name that is none of this node's. What came through a trusted proxy
        (``proxied``) is checked only against a list."""
        if not self._checked or (proxied and not self._hosts):
            return
        name = host_name(request.host)
        if name == LOCAL or name.endswith(f".{LOCAL}") or name in self._hosts or address_of(name) is not None:
            return
        raise WrongHost("this node is not known under that name", hint="an administrator adds names to http.hosts")


def loopback(host: str) -> bool:
    """Whether only this machine can connect to an address."""
    found = address_of(host)
    return found.is_loopback if found is not None else host.lower() == LOCAL


def host_name(host: str) -> str:
    """Of a Host header, or of a hop: without the port and the brackets; IPv6 may come without them."""
    if host.startswith("["):
        name = host.partition("]")[0][1:]
    else:
        name = host.partition(":")[0] if host.count(":") == 1 else host
    return name.lower().rstrip(".")


def _last(request: web.Request, header: str) -> str:
    """What the nearest proxy has put there."""
    return request.headers.getall(header, [""])[-1].rpartition(",")[2].strip()


def address_of(text: str) -> Address | None:
    """An address as it is written, of IPv4 where IPv6 only wraps one, without the zone; None for what is none."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
