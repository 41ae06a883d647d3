"""The catalogue as one browses it: what a visitor may see of it, what fits the filters, in which order, by pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal, NamedTuple, cast, get_args
from urllib.parse import urlencode

from atoll.engine.semantic import MAX_TEXT, SemanticQuery
from atoll.node.clock import now_ms
from atoll.node.language import later
from atoll.node.search.query import Filters
from atoll.node.search.sketches import Doubts
from atoll.node.web.paging import number
from atoll.node.web.rendering import Names
from atoll.node.web.search.form import GROUPS
from atoll.protocol.ids import peer_id
from atoll.protocol.limits import CLOCK_SKEW
from atoll.protocol.listings import Listing, State
from atoll.protocol.policy import Act, offered, promised

if TYPE_CHECKING:
    from atoll.node.app import Node
    from atoll.node.web.visit import Visit
    from multidict import MultiMapping

PAGE = 25
STATES: tuple[State, ...] = ("live", "paused")
MAY: dict[Act, str] = {
    "predict": later("have rows predicted"), "download": later("download the model"),
    "disclose": later("see its reduced set"),
}  # fmt: skip
Sort = Literal["best", "newest", "name", "owner"]
SORTS: dict[Sort, str] = {
    "best": later("best match"), "newest": later("newest"), "name": later("name"), "owner": later("owner"),
}  # fmt: skip
MOST_OWNERS = 300  # that can be chosen from
May = Callable[[Listing], tuple[Act, ...]]


@dataclass(frozen=True)
class Wanted:
    """What the filters say; an empty one asks for nothing."""

    words: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    federation: str = ""
    may: str = ""
    sort: Sort = "newest"
    page: int = 1

    @classmethod
    def read(cls, query: MultiMapping[str]) -> Wanted:
        """What came; whatever no form of ours sends asks for nothing."""
        words = query.get("words", "").strip()[:MAX_TEXT]
        tags = {group: query.get(group, "") for group, (_, known) in GROUPS.items() if query.get(group, "") in known}
        given, page, may = query.get("sort", ""), number(query.get("page", "")), query.get("may", "")
        usual: Sort = "best" if words else "newest"
        sort = cast(Sort, given) if given in get_args(Sort) and (words or given != "best") else usual
        return cls(
            words, tags, query.get("owner", "")[:100], query.get("federation", "")[:64], may if may in MAY else "",
            sort, page,
        )  # fmt: skip

    @property
    def any(self) -> bool:
        return bool(self.words or self.tags or self.owner or self.federation or self.may)

    @property
    def semantic(self) -> SemanticQuery:
        return SemanticQuery(text=self.words, **{group: (value,) for group, value in self.tags.items()})

    def filters(self, states: tuple[State, ...]) -> Filters:
        one = {name: (value,) for name in ("owner", "federation") if (value := getattr(self, name))}
        return Filters(**one, may=(cast(Act, self.may),) if self.may else (), state=states)

    def at(self, page: int) -> str:
        """The query of an address that leads to this page of the same."""
        plain = {name: getattr(self, name) for name in ("words", "owner", "federation", "may", "sort")}
        fields = {**plain, **self.tags, "page": str(page) if page > 1 else ""}
        return urlencode({name: value for name, value in fields.items() if value})


class Row(NamedTuple):
    """One learnware of one owner, in whatever federations it is listed; the first of ``listings`` speaks for it."""

    listings: tuple[Listing, ...]
    owner: str
    may: tuple[Act, ...]
    own: bool
    doubts: Doubts

    @property
    def listing(self) -> Listing:
        return self.listings[0]


class Owner(NamedTuple):
    """Somebody who lists something, and how much."""

    peer: str
    name: str
    listed: int


@dataclass(frozen=True)
class Found:
    """``total`` learnwares fit, of ``known`` that this visitor may see; ``rows`` are those of the page."""

    wanted: Wanted
    rows: tuple[Row, ...]
    total: int
    known: int
    owners: tuple[Owner, ...]
    federations: tuple[str, ...]

    @cached_property
    def pages(self) -> int:
        return max(1, -(-self.total // PAGE))

    @property
    def first(self) -> int:
        return (self.wanted.page - 1) * PAGE + 1

    @cached_property
    def around(self) -> tuple[int, ...]:
        """The numbers of pages to lead to; 0 where some are left out."""
        here = self.wanted.page
        near = sorted({1, self.pages, *(each for each in range(here - 2, here + 3) if 1 <= each <= self.pages)})
        gaps = [0 if before and each - before > 1 else -1 for before, each in zip([0, *near], near, strict=False)]
        return tuple(each for pair in zip(gaps, near, strict=True) for each in pair if each >= 0)


def browse(visit: Visit, wanted: Wanted) -> Found:
    """What the visitor sees; takes tens of milliseconds with ten thousand listings: call it in a thread."""
    node, now = visit.node, now_ms()
    grants, states = node.asked.granted(now), STATES if visit.token is not None else STATES[:1]
    may = partial(offered, user=visit.user, own=node.identity.public, grants=grants)
    seen = [each for each in node.catalogue.alive(now, states=states) if may_be_seen(each, visit.user)]
    fitting, scores = _fitting(visit, wanted, states, seen, may)
    speaking, together = _together(fitting)
    ordered = _sorted(node, wanted, speaking, scores, now + CLOCK_SKEW)
    page = min(wanted.page, max(1, -(-len(ordered) // PAGE)))
    shown = ordered[(page - 1) * PAGE : page * PAGE]
    known = len({each.learnware_id + each.owner for each in seen})
    federations = tuple(sorted({each.federation.hex() for each in seen}))
    rows = _rows(visit, [(each, *together.get(each.learnware_id + each.owner, ())) for each in shown], may)
    return Found(replace(wanted, page=page), rows, len(ordered), known, _owners(node, seen), federations)


def may_be_seen(listing: Listing, user: str) -> bool:
    """Whoever has signed in sees all that is listed; a stranger what is promised to anyone."""
    return user != "" or "match" in promised(listing.offers, user)


def acts(visit: Visit, listing: Listing) -> tuple[Act, ...]:
    """What the visitor may do, as far as the listing says."""
    return offered(listing, visit.user, visit.node.identity.public)


def _fitting(
    visit: Visit, wanted: Wanted, states: tuple[State, ...], seen: list[Listing], may: May
) -> tuple[list[Listing], Mapping[int, float]]:
    """What passes, and by id() how well the words fit: of what has them exactly nothing that is only alike."""
    semantic, filters = wanted.semantic, wanted.filters(states)
    narrowed = [each for each in seen if semantic.admits(each.semantic)] if wanted.tags else seen
    if wanted.may or wanted.owner or wanted.federation:
        narrowed = [each for each in narrowed if filters.admits(each, may)]
    if not wanted.words:
        return narrowed, {}
    scores = semantic.foremost([each.semantic for each in narrowed])
    found = {id(each): score for each, score in zip(narrowed, scores, strict=True) if score > 0}
    return [each for each in narrowed if id(each) in found], found


def _together(listings: Sequence[Listing]) -> tuple[list[Listing], dict[bytes, list[Listing]]]:
    """Of each learnware of an owner the listing that speaks for it, the newest; and those in other federations, by
    (learnware, owner). Few objects are made: among so many listings, collecting them takes longer than all else."""
    speaking: dict[bytes, Listing] = {}
    others: dict[bytes, list[Listing]] = {}
    for each in listings:
        key = each.learnware_id + each.owner
        known = speaking.setdefault(key, each)
        if known is not each:
            speaking[key], other = (each, known) if each.issued_at > known.issued_at else (known, each)
            others.setdefault(key, []).append(other)
    return list(speaking.values()), others


def _sorted(
    node: Node, wanted: Wanted, listings: list[Listing], scores: Mapping[int, float], latest: int
) -> list[Listing]:
    """Ties by name, then as the catalogue has them; what is dated after the ``latest`` time is not believed new."""
    listings.sort(key=lambda each: each.semantic.name.casefold())
    match wanted.sort:
        case "best":
            listings.sort(key=lambda each: -scores[id(each)])
        case "newest":
            listings.sort(key=lambda each: -each.issued_at if each.issued_at <= latest else 0)
        case "owner":
            names = Names(node)
            called = {owner: names.peer(peer_id(owner)).casefold() + peer_id(owner) for owner in
                      {each.owner for each in listings}}  # fmt: skip
            listings.sort(key=lambda each: called[each.owner])
    return listings


def _rows(visit: Visit, shown: list[tuple[Listing, ...]], may: May) -> tuple[Row, ...]:
    doubts = visit.node.searcher.doubts([each[0] for each in shown])
    return tuple(
        Row(
            each, peer_id(each[0].owner), tuple(dict.fromkeys(act for one in each for act in may(one))),
            visit.token is not None and each[0].owner == visit.node.identity.public, doubt,
        )
        for each, doubt in zip(shown, doubts, strict=True)
    )  # fmt: skip


def _owners(node: Node, seen: list[Listing]) -> tuple[Owner, ...]:
    """Who lists most first, as many as can be chosen from; then by name."""
    names, counts = Names(node), Counter(each.owner for each in seen).most_common(MOST_OWNERS)
    found = [Owner(peer_id(owner), names.peer(peer_id(owner)), count) for owner, count in counts]
    return tuple(sorted(found, key=lambda each: (each.name.casefold(), each.peer)))
