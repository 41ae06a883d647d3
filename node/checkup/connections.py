"""What connects the node: whether it runs, its ports and addresses, TLS, and the peers that it must reach."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from atoll.node.api.proxies import loopback
from atoll.node.checkup.finding import Finding, Patient, State
from atoll.node.contradictions import tcp
from atoll.node.language import gettext, later
from cryptography import x509

SECONDS = 3.0
WEEKS = 21  # days of a certificate that are few
ANNOUNCE = later("set p2p.announce to an address that leads here, or p2p.relay to a member that relays")


def node(patient: Patient) -> Iterator[Finding]:
    """Whether it answers."""
    running = patient.running
    if running is None:
        yield Finding("node", "look", f"none runs here: {patient.silence}", "start it with `atoll serve`")
    elif running.foreign:
        words = f"another node, {running.node.peer_id}, answers at {running.url}"
        yield Finding("node", "look", words, "set http.port to a free one, or $ATOLL_URL to that of this node")
    else:
        yield Finding("node", "fine", f"{running.node.name!r} serves {running.url}")


def ports(patient: Patient) -> Iterator[Finding]:
    """Free, or taken by the node of this home."""
    if patient.config is None:
        return
    wanted = {"http port": (patient.config.http.host, patient.config.http.port)}
    listen = tcp(patient.config.p2p.listen)
    if listen is not None:
        wanted["p2p port"] = listen
    for what, (host, port) in wanted.items():
        key = "http.port" if what == "http port" else "p2p.listen"
        why = "" if port == 0 else _taken(host, port)
        if port == 0:
            yield Finding(what, "fine", "a free one is taken at each start")
        elif not why:
            yield Finding(what, "fine", f"{host}:{port} is free")
        elif patient.served:
            yield Finding(what, "fine", f"{host}:{port} is the node's")
        else:
            yield Finding(what, "bad", f"{host}:{port}: {why}", f"set {key} in atoll.toml, or stop the other process")


def addresses(patient: Patient) -> Iterator[Finding]:
    """Whether peers elsewhere can come by what they are told."""
    if patient.config is None:
        return
    p2p = patient.config.p2p
    if not p2p.listen:
        words = "the node listens nowhere" + (", peers reach it over its relay" if p2p.relay else "")
        yield Finding("addresses", "fine" if p2p.relay else "look", words, "" if p2p.relay else ANNOUNCE)
        return
    told = patient.running.node.addresses if patient.running is not None and patient.served else p2p.announce
    heard = told or (p2p.listen,)
    if nowhere := leads_nowhere(heard):
        yield Finding("addresses", "look", nowhere, ANNOUNCE)
    elif patient.served:
        places = [place for place in map(tcp, heard) if place is not None]
        silent = [f"{host}:{port}" for host, port in places if not _answers(host, port)]
        words = f"peers are told {', '.join(f'{host}:{port}' for host, port in places)}"
        if silent:
            todo = "open the port in the firewall, or correct p2p.announce; some routers let nobody in from inside"
            yield Finding("addresses", "look", f"{words}; from here {', '.join(silent)} do not answer", todo)
        else:
            yield Finding("addresses", "fine", f"{words}, and they answer")
    else:
        yield Finding("addresses", "fine", f"peers are told {', '.join(told) or f'where {p2p.listen} is'}")


def leads_nowhere(told: Iterable[str]) -> str:
    """That peers elsewhere cannot come by the addresses that they are told; empty where one of them may lead here."""
    places = [place for place in map(tcp, told) if place is not None]
    if not all(loopback(host) for host, _ in places):
        return ""
    near = ", ".join(f"{host}:{port}" for host, port in places)
    return near and gettext("peers are told {addresses}, which leads nowhere from elsewhere").format(addresses=near)


def tls(patient: Patient) -> Iterator[Finding]:
    """How long the certificate lasts; that key and certificate belong together is said of the configuration."""
    if patient.config is None:
        return
    http = patient.config.http
    if not http.tls_certificate:
        if not loopback(http.host):
            words = f"http.host is {http.host}, and tokens go over the network in the clear"
            yield Finding("TLS", "look", words, "set http.tls_certificate and http.tls_key, or let a proxy end TLS")
        return
    try:
        certificate = x509.load_pem_x509_certificate((patient.home / Path(http.tls_certificate)).read_bytes())
    except (OSError, ValueError) as error:
        yield Finding("TLS", "bad", f"{http.tls_certificate} is no certificate: {error}", "give a PEM file")
        return
    left = (certificate.not_valid_after_utc - datetime.now(UTC)).days
    words = f"the certificate of {certificate.subject.rfc4514_string()} "
    if left < 0:
        yield Finding("TLS", "bad", f"{words}has expired", "renew it; a node that runs takes the new files by itself")
    else:
        state: State = "look" if left < WEEKS else "fine"
        yield Finding("TLS", state, f"{words}lasts {left} days", "" if state == "fine" else "renew it")


def peers(patient: Patient) -> Iterator[Finding]:
    """Whether those that the configuration names, and members, are there."""
    running = patient.running
    if running is None or running.foreign:
        return
    if running.peers is None:
        yield Finding("peers", "look", "not looked at", "set $ATOLL_TOKEN to a token with the scope read")
        return
    there = [peer for peer in running.peers if peer.state == "member"]
    yield Finding("peers", "fine", f"connected members: {len(there)}, of {len(running.peers)} known peers")
    named = () if patient.config is None else filter(None, (patient.config.p2p.relay, *patient.config.p2p.bootstrap))
    for address in named:
        peer = next((each for each in running.peers if address.endswith(f"/p2p/{each.peer_id}")), None)
        if peer is None or peer.state in ("known", "unreachable"):
            words = f"{address} does not answer" + (f": {peer.why}" if peer is not None and peer.why else "")
            yield Finding("bootstrap", "look", words, "ask who runs it, or correct p2p.bootstrap")
        else:
            yield Finding("bootstrap", "fine", f"{peer.name or address} answers")


def _taken(host: str, port: int) -> str:
    """Why nothing can listen there, empty if something can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def _answers(host: str, port: int) -> bool:
    try:
        with closing(socket.create_connection((host, port), SECONDS)):
            return True
    except OSError:
        return False
