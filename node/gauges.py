"""Figures of the moment for Prometheus: what a node is, holds, and has room for. Read when they are asked for."""

from __future__ import annotations

import platform
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, get_args

import atoll
from atoll.engine.runtime import rung
from atoll.engine.runtime.formats import LEVELS
from atoll.node.clock import now_ms
from atoll.node.p2p.table import Standing
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from atoll.node.app import Node


WEIGHED = 300.0  # seconds for which the size of a folder with many files is believed


class Meaning(NamedTuple):
    """Of a metric: what it says, and what its labels are."""

    text: str
    labels: tuple[str, ...] = ()


class Figure(NamedTuple):
    """A value of a gauge, with those of its labels."""

    name: str
    value: float
    labels: tuple[str, ...] = ()


GAUGES: Mapping[str, Meaning] = MappingProxyType({
    "atoll_build_info": Meaning("1 for the version that runs", ("version", "python")),
    "atoll_started_seconds": Meaning("When the node was started, in seconds since 1970"),
    "atoll_dock_learnwares": Meaning("Learnwares hosted here"),
    "atoll_catalogue_listings": Meaning("Live listings known"),
    "atoll_islands": Meaning("Islands known"),
    "atoll_federations": Meaning("Federations joined"),
    "atoll_peers_live": Meaning("Peers with a federation in common"),
    "atoll_peers": Meaning("Peers known, by how they stand", ("state",)),
    "atoll_federation_behind_logs": Meaning("Logs that stand higher at some peer than here, at most", ("federation",)),
    "atoll_federation_peers_behind_logs": Meaning(
        "Logs that stand lower at some peer than here, at most", ("federation",)
    ),
    "atoll_certificate_seconds": Meaning("Until the membership in a federation expires", ("federation",)),
    "atoll_tls_seconds": Meaning("Until the TLS certificate of this node expires; missing without TLS"),
    "atoll_searches_under_way": Meaning("Searches of users that have not ended"),
    "atoll_matches_under_way": Meaning("Searches answered here, or waiting for that: of peers or own", ("whose",)),
    "atoll_reuse_sessions": Meaning("Predictions remembered, by how far they are", ("state",)),
    "atoll_signed_in": Meaning("Browsers signed in"),
    "atoll_submissions_open": Meaning("Packages that wait for their checks, or are being checked"),
    "atoll_http_connections": Meaning("Connections over HTTP"),
    "atoll_sandbox": Meaning("Isolation in which models run: 1 for the rung that holds", ("rung",)),
    "atoll_sandbox_workers": Meaning("Models loaded, each in a process of its own", ("state",)),
    "atoll_audit_rows": Meaning("Rows of the audit log"),
    "atoll_store_bytes": Meaning("Bytes of the store that are in use or were"),
    "atoll_store_map_bytes": Meaning("Bytes that the store may fill before its map grows"),
    "atoll_store_most_bytes": Meaning("Bytes that the store may ever fill"),
    "atoll_blob_bytes": Meaning("Bytes of packages and their parts on disk, added up every five minutes"),
    "atoll_cache_bytes": Meaning("Bytes of downloaded packages"),
    "atoll_cache_quota_bytes": Meaning("Bytes that downloaded packages may take"),
    "atoll_disk_free_bytes": Meaning("Bytes free on the disk of the home"),
})  # fmt: skip


class Weight:
    """Bytes of all files in a folder, added up anew once what is known is older than ``seconds``."""

    def __init__(self, folder: Path, seconds: float = WEIGHED) -> None:
        self._folder = folder
        self._seconds = seconds
        self._known: tuple[float, int] | None = None

    def bytes(self, now: float) -> int:
        """At ``now`` (seconds, of a clock that only goes on); blocking."""
        if self._known is None or now - self._known[0] >= self._seconds:
            self._known = now, _size(self._folder)
        return self._known[1]


class Gauges(Collector):
    """A collector of figures that are asked for at each scrape."""

    def __init__(self, figures: Callable[[], Iterator[Figure]]) -> None:
        self._figures = figures

    def describe(self) -> list[Metric]:
        """Nothing: to register it must not ask."""
        return []

    def collect(self) -> Iterator[Metric]:
        families = {name: GaugeMetricFamily(name, text, labels=labels) for name, (text, labels) in GAUGES.items()}
        for figure in self._figures():
            families[figure.name].add_metric(figure.labels, figure.value)
        yield from families.values()


def figures(node: Node, blobs: Weight) -> Iterator[Figure]:
    """All of them; blocking."""
    yield from _itself(node)
    yield from _network(node)
    yield from _at_work(node)
    yield from _disk(node, blobs)


def _itself(node: Node) -> Iterator[Figure]:
    yield Figure("atoll_build_info", 1, (atoll.__version__, platform.python_version()))
    yield Figure("atoll_started_seconds", node.started_at / 1000)
    yield Figure("atoll_dock_learnwares", len(node.dock.all()))
    yield Figure("atoll_catalogue_listings", len(node.catalogue.alive(now_ms())))
    yield Figure("atoll_islands", len(node.catalogue.islands()))
    held = rung().level
    for level in LEVELS:
        yield Figure("atoll_sandbox", level == held, (level,))
    yield Figure("atoll_audit_rows", node.audit.head().seq)


def _network(node: Node) -> Iterator[Figure]:
    federations, states = node.federations.all(), node.peers.all()
    yield Figure("atoll_federations", len(federations))
    yield Figure("atoll_peers_live", len(node.peers.live()))
    standing = Counter(each.state for each in states)
    for state in get_args(Standing):
        yield Figure("atoll_peers", standing[state], (state,))
    for federation in federations:
        label = (federation.id.hex()[:12],)
        lags = [each.lags[federation.id] for each in states if federation.id in each.lags]
        yield Figure("atoll_federation_behind_logs", max((lag.ahead for lag in lags), default=0), label)
        yield Figure("atoll_federation_peers_behind_logs", max((lag.behind for lag in lags), default=0), label)
        yield Figure("atoll_certificate_seconds", (federation.certificate.expires_at - now_ms()) / 1000, label)


def _at_work(node: Node) -> Iterator[Figure]:
    yield Figure("atoll_searches_under_way", node.searcher.under_way)
    load = node.owner.desk.load
    yield Figure("atoll_matches_under_way", load.peers, ("peers",))
    yield Figure("atoll_matches_under_way", load.own, ("own",))
    for state, number in node.reuser.states().items():
        yield Figure("atoll_reuse_sessions", number, (state,))
    yield Figure("atoll_signed_in", node.sessions.of_tokens(now_ms()).total())
    yield Figure("atoll_submissions_open", sum(row.open for row in node.acceptance.all()))
    yield Figure("atoll_http_connections", node.room.taken)
    idle, busy = node.models.loaded
    yield Figure("atoll_sandbox_workers", idle, ("idle",))
    yield Figure("atoll_sandbox_workers", busy, ("busy",))
    if node.tls is not None:
        yield Figure("atoll_tls_seconds", node.tls.expires_at.timestamp() - now_ms() / 1000)


def _disk(node: Node, blobs: Weight) -> Iterator[Figure]:
    space = node.store.space()
    yield Figure("atoll_store_bytes", space.used)
    yield Figure("atoll_store_map_bytes", space.mapped)
    yield Figure("atoll_store_most_bytes", space.most)
    yield Figure("atoll_blob_bytes", blobs.bytes(time.monotonic()))
    yield Figure("atoll_cache_bytes", sum(row.size for _, row in node.downloads.all()))
    yield Figure("atoll_cache_quota_bytes", node.config.reuse.cache_bytes)
    yield Figure("atoll_disk_free_bytes", shutil.disk_usage(node.home).free)


def _size(folder: Path) -> int:
    """Of all files in it that stay where they are meanwhile."""
    size = 0
    for path in folder.rglob("*"):
        try:
            size += path.stat().st_size if path.is_file() else 0
        except OSError:  # it has gone
            continue
    return size
