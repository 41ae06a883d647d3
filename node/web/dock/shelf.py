"""What this node hosts, as its page shows it: counts, and the learnwares that were asked for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from atoll.engine.packages.quality import Measured
from atoll.node.acceptance.submissions import SubmissionRow
from atoll.node.clock import now_ms
from atoll.node.store.dock import Learnware
from atoll.node.web.dock.figures import Chart, chart, first_day
from atoll.protocol.limits import DAY
from atoll.protocol.listings import Listing

if TYPE_CHECKING:
    from atoll.node.app import Node

REFUSED = 5  # packages that are shown, of the last 30 days
Standing = Literal["live", "paused", "unlisted"]
STANDINGS: tuple[Standing, ...] = get_args(Standing)


@dataclass(frozen=True)
class Wanted:
    """Which learnwares to show: all that ``words`` are in the name of, and so on; empty does not choose."""

    words: str = ""
    standing: str = ""
    federation: str = ""
    task: str = ""

    def takes(self, item: Item) -> bool:
        return (
            self.words.casefold() in item.name.casefold()
            and self.standing in ("", item.standing)
            and self.task in ("", item.task)
            and (not self.federation or any(each.federation.hex() == self.federation for each in item.listings))
        )


@dataclass(frozen=True)
class Item:
    """One learnware; ``size`` is what its files take on disk."""

    id: str
    revision: str
    name: str
    task: str
    listings: tuple[Listing, ...]
    quality: Measured | None
    size: int

    @property
    def standing(self) -> Standing:
        """As it stands best in any federation."""
        if not self.listings:
            return "unlisted"
        return "live" if any(each.status == "live" for each in self.listings) else "paused"


@dataclass(frozen=True)
class Use:
    """What was served: rows predicted and packages sent, ``today`` and in 30 days (``lately``)."""

    today: Counter[str]
    lately: Counter[str]
    charts: dict[str, Chart]  # of predictions, by learnware


@dataclass(frozen=True)
class Shelf:
    """``items`` are those that were asked for; the counts are of all that the dock holds."""

    items: tuple[Item, ...]
    hosted: int
    size: int
    standings: Counter[str]
    federations: dict[str, Counter[str]]
    tasks: Counter[str]


def shelf(node: Node, wanted: Wanted) -> Shelf:
    """Blocking: it looks at the sizes of files."""
    items = sorted((item(node, each) for each in node.dock.all()), key=lambda each: (each.name.casefold(), each.id))
    federations: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for each in items:
        for listing in each.listings:
            federations[listing.federation.hex()][listing.status] += 1
    return Shelf(
        tuple(filter(wanted.takes, items)), len(items), sum(each.size for each in items),
        Counter(each.standing for each in items), dict(federations),
        Counter(each.task for each in items),
    )  # fmt: skip


def item(node: Node, learnware: Learnware) -> Item:
    """Blocking, as :func:`shelf`."""
    return Item(
        learnware.id.hex(), learnware.row.revision.hex(), learnware.manifest.semantic.name,
        learnware.manifest.semantic.task, tuple(node.publisher.listed_in(learnware.id)), learnware.row.quality,
        sum(node.blobs.path(digest).stat().st_size for digest in set(learnware.row.blobs)),
    )  # fmt: skip


def use(node: Node, shown: Iterable[Item]) -> Use:
    """Blocking: it reads the counts of 30 days."""
    now = now_ms()
    counted = node.gate.usage.since(first_day(now), now)
    today, lately, by_day = Counter[str](), Counter[str](), defaultdict[str, Counter[int]](Counter)
    for (day, learnware_id, act), amount in counted.items():
        lately[act] += amount
        if day == now // DAY * DAY:
            today[act] += amount
        if act == "predict":
            by_day[learnware_id.hex()][day] += amount
    return Use(today, lately, {each.id: chart(by_day[each.id], now) for each in shown})


def packages(node: Node) -> tuple[list[SubmissionRow], list[SubmissionRow]]:
    """Those that are being checked, and the last that were refused."""
    rows, since = node.acceptance.all(), now_ms() - 30 * DAY
    refused = [row for row in rows if row.state == "refused" and row.decided_at >= since]
    return [row for row in rows if row.open], refused[:REFUSED]
