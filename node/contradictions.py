"""What single keys of a configuration do not show: addresses that lead nowhere, a port that is wanted twice, TLS files
that do not belong together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from atoll.node.api.tls import Tls, TlsWrong
from atoll.node.config import Config
from atoll.protocol.errors import ProtocolError
from atoll.protocol.peers import peer_of
from multiaddr import Multiaddr

Contradiction = tuple[str, str, str, str | None]  # section, key, words, hint
ANY = ("0.0.0.0", "::")


def found(config: Config, home: Path) -> Iterator[Contradiction]:
    """Every one of them; reads files, and resolves and connects to nothing."""
    yield from _addresses(config)
    yield from _ports(config)
    yield from _tls(config, home)


def tcp(address: str) -> tuple[str, int] | None:
    """Host and port of a multiaddr of IP and TCP, None for anything else."""
    try:
        parsed = Multiaddr(address)
        kind = next(each for each in ("ip4", "ip6", "dns", "dns4", "dns6") if address.startswith(f"/{each}/"))
        return str(parsed.value_for_protocol(kind)), int(parsed.value_for_protocol("tcp"))
    except Exception:  # multiaddr has no common base for its errors
        return None


def _addresses(config: Config) -> Iterator[Contradiction]:
    p2p = config.p2p
    if p2p.listen and (not p2p.listen.startswith(("/ip4/", "/ip6/")) or tcp(p2p.listen) is None):
        yield "p2p", "listen", f"{p2p.listen!r} cannot be listened on", "use /ip4/0.0.0.0/tcp/<port>, or nothing"
    for address in p2p.announce:
        if tcp(address) is None and "/p2p-circuit" not in address:
            yield "p2p", "announce", f"{address!r} is no address of a peer", "use /dns4/<name>/tcp/<port>"
    dialled = [("bootstrap", address) for address in p2p.bootstrap] + [("relay", p2p.relay)] * bool(p2p.relay)
    for key, address in dialled:
        try:
            peer_of(address)
        except ProtocolError as error:
            yield "p2p", key, error.message, error.hint
            continue
        if tcp(address) is None:
            yield "p2p", key, f"{address!r} is no address over TCP", "use /dns4/<name>/tcp/<port>/p2p/<peer id>"
    if p2p.relay and p2p.relay_for_members:
        words = "who is reached over a relay cannot be one"
        yield "p2p", "relay_for_members", words, "set only one of p2p.relay and p2p.relay_for_members"


def _ports(config: Config) -> Iterator[Contradiction]:
    place = tcp(config.p2p.listen)
    if place is None or place[1] == 0 or place[1] != config.http.port:
        return
    hosts = {place[0], config.http.host}
    if len(hosts) == 1 or hosts & {*ANY}:
        yield "http", "port", f"{config.http.port} is also the port of p2p.listen", "give one of them another port"


def _tls(config: Config, home: Path) -> Iterator[Contradiction]:
    """What the node would say of them at its start."""
    try:
        Tls.of(config.http, home)
    except TlsWrong as error:
        yield "http", error.key, error.words, error.hint
