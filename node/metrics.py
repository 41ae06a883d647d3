"""What a node counts of itself, for Prometheus: one registry for each node, and nobody's id among the labels.

What is counted as it happens is here; figures of the moment are in node.gauges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from types import MappingProxyType
from typing import NamedTuple, get_args

import prometheus_client
from atoll.node import gauges
from atoll.node.acceptance.submissions import SubmissionRow
from atoll.node.gauges import Figure, Meaning
from atoll.node.reuse.running import Reusing
from atoll.node.search.query import Privacy
from atoll.node.search.running import Running
from atoll.protocol import ask, fetch, hello, join, match, peers, predict, sync
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the series
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SPOKEN = (ask, fetch, hello, join, match, peers, predict, sync)
PROTOCOLS = frozenset(each.PROTOCOL.split("/")[2] for each in SPOKEN)

COUNTERS: Mapping[str, Meaning] = MappingProxyType({
    "atoll_http_requests_total": Meaning("Requests over HTTP", ("method", "route", "status")),
    "atoll_http_limited_total": Meaning("Requests refused for being too many: request, token or stream", ("kind",)),
    "atoll_searches_total": Meaning(
        "Searches of users: complete, partial (an owner failed), failed or stopped", ("privacy", "outcome")
    ),
    "atoll_search_peers_total": Meaning("Owners that searches asked: answered or failed", ("outcome",)),
    "atoll_matches_served_total": Meaning("Searches of peers: answered, refused or busy", ("outcome",)),
    "atoll_predictions_total": Meaning("Predictions for users: done, failed or stopped", ("outcome",)),
    "atoll_predicted_rows_total": Meaning("Rows predicted for users: here, or at the owner", ("place",)),
    "atoll_prediction_members_failed_total": Meaning("Learnwares that failed within a prediction"),
    "atoll_predictions_served_total": Meaning("Frames of rows of peers: answered or refused", ("outcome",)),
    "atoll_downloads_total": Meaning("Packages fetched from their owners: done or failed", ("outcome",)),
    "atoll_download_bytes_total": Meaning("Bytes of packages fetched"),
    "atoll_downloads_resumed_total": Meaning("Fetches that went on where one had broken off"),
    "atoll_submissions_decided_total": Meaning("Packages judged: accepted or refused", ("outcome",)),
    "atoll_gossip_messages_total": Meaning("Messages of gossip: in, out or invalid", ("direction",)),
    "atoll_syncs_total": Meaning("Comparisons of catalogues begun here: level, news or failed", ("outcome",)),
    "atoll_p2p_bytes_total": Meaning(
        "Bytes of streams with peers; sync is the comparing of catalogues", ("protocol", "direction")
    ),
})  # fmt: skip
# What the labels of a counter may say, where that is known before: these series begin at 0 with the node, since
# Prometheus sees no increase in one that begins at 1.
VALUES: Mapping[str, tuple[Iterable[str], ...]] = MappingProxyType(
    {
        "atoll_http_limited_total": (("request", "token", "stream"),),
        "atoll_searches_total": (get_args(Privacy), ("complete", "partial", "failed", "stopped")),
        "atoll_search_peers_total": (("answered", "failed"),),
        "atoll_matches_served_total": (("answered", "refused", "busy"),),
        "atoll_predictions_total": (("done", "failed", "stopped"),),
        "atoll_predicted_rows_total": (("here", "owner"),),
        "atoll_predictions_served_total": (("answered", "refused"),),
        "atoll_downloads_total": (("done", "failed"),),
        "atoll_submissions_decided_total": (("accepted", "refused"),),
        "atoll_gossip_messages_total": (("in", "out", "invalid"),),
        "atoll_syncs_total": (("level", "news", "failed"),),
        "atoll_p2p_bytes_total": (sorted(PROTOCOLS | {"other"}), ("in", "out")),
    }
)
HISTOGRAMS: Mapping[str, Meaning] = MappingProxyType({
    "atoll_http_request_seconds": Meaning("How long requests took, streams to their end", ("route",)),
    "atoll_search_seconds": Meaning("How long searches took to their final answer"),
    "atoll_match_served_seconds": Meaning("How long searches of peers waited and took"),
})  # fmt: skip


class Metric(NamedTuple):
    """What is exported under a name."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


class Metrics:
    """Thread-safe."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._counters = {
            name: Counter(name, text, labels, registry=registry) for name, (text, labels) in COUNTERS.items()
        }
        self._histograms = {
            name: Histogram(name, text, labels, buckets=SECONDS, registry=registry)
            for name, (text, labels) in HISTOGRAMS.items()
        }
        ProcessCollector(registry=registry)
        for name, values in VALUES.items():
            for labels in product(*values):
                self._counters[name].labels(*labels)

    def show(self, figures: Callable[[], Iterator[Figure]]) -> None:
        """Export these figures of the moment too; they are asked for in ``text``."""
        self._registry.register(gauges.Gauges(figures))

    def text(self) -> bytes:
        """All of it in Prometheus' text format; blocking, since some figures are of the disk."""
        return generate_latest(self._registry)

    def http(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered; ``route`` is its template."""
        self._count("atoll_http_requests_total", method, route, str(status))
        self._histograms["atoll_http_request_seconds"].labels(route).observe(seconds)

    def limited(self, kind: str) -> None:
        """A request was refused because there were too many."""
        self._count("atoll_http_limited_total", kind)

    def searched(self, search: Running) -> None:
        """A search has ended."""
        result = search.result if search.result is not None and search.result.final else None
        outcome = "failed" if result is None else "complete" if result.complete else "partial"
        self._count("atoll_searches_total", search.query.privacy, "stopped" if search.stopped else outcome)
        if result is not None:
            self._histograms["atoll_search_seconds"].observe(result.elapsed_ms / 1000)
            self._count("atoll_search_peers_total", "answered", by=len(result.peers_answered))
            self._count("atoll_search_peers_total", "failed", by=len(result.peers_failed))

    def served_match(self, outcome: str, seconds: float) -> None:
        """A search of a peer was answered, refused, or sent away (busy)."""
        self._count("atoll_matches_served_total", outcome)
        self._histograms["atoll_match_served_seconds"].observe(seconds)

    def predicted(self, reusing: Reusing) -> None:
        """A prediction has ended."""
        report = reusing.report
        outcome = "stopped" if reusing.stopped else "failed" if report is None else "done"
        self._count("atoll_predictions_total", outcome)
        if report is not None:
            self._count("atoll_predicted_rows_total", "here", by=report.rows_local)
            self._count("atoll_predicted_rows_total", "owner", by=report.rows_remote)
            failed = sum(bool(each.failed) for each in report.members)
            self._count("atoll_prediction_members_failed_total", by=failed)

    def served_prediction(self, outcome: str) -> None:
        """A frame of rows of a peer was answered or refused."""
        self._count("atoll_predictions_served_total", outcome)

    def fetched(self, size: int, resumed: bool, failed: bool) -> None:
        """A fetch of a package has ended, after ``size`` bytes."""
        self._count("atoll_downloads_total", "failed" if failed else "done")
        self._count("atoll_download_bytes_total", by=size)
        self._count("atoll_downloads_resumed_total", by=int(resumed))

    def judged(self, row: SubmissionRow) -> None:
        """A package was accepted or refused."""
        self._count("atoll_submissions_decided_total", row.state)

    def gossiped(self, direction: str) -> None:
        """A message came in or went out, or was invalid."""
        self._count("atoll_gossip_messages_total", direction)

    def synced(self, outcome: str) -> None:
        """A comparison with a peer has ended."""
        self._count("atoll_syncs_total", outcome)

    def traffic(self, protocol: str, received: int, sent: int) -> None:
        """Bytes of a stream; ``protocol`` is its id, as ``/atoll/sync/1``."""
        name = protocol.removeprefix("/atoll/").partition("/")[0]
        name = name if name in PROTOCOLS else "other"
        self._count("atoll_p2p_bytes_total", name, "in", by=received)
        self._count("atoll_p2p_bytes_total", name, "out", by=sent)

    def _count(self, name: str, *labels: str, by: int = 1) -> None:
        counter = self._counters[name]
        (counter.labels(*labels) if labels else counter).inc(by)


def listed() -> tuple[Metric, ...]:
    """Every metric that a node exports, by name, with what it means."""
    kinds = {"counter": COUNTERS, "histogram": HISTOGRAMS, "gauge": gauges.GAUGES}
    own = [Metric(name, kind, labels, text) for kind, table in kinds.items() for name, (text, labels) in table.items()]
    process = [
        Metric(each.name + ("_total" if each.type == "counter" else ""), each.type, (), each.documentation)
        for each in ProcessCollector(registry=None).collect()
    ]
    return tuple(sorted(own + process))
