"""The network as one page of it shows it: who is chosen, what the figures are, and what every mark says in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from atoll.node.api.peer_rules import RuleView, rule_views
from atoll.node.clock import now_ms
from atoll.node.language import gettext, ngettext
from atoll.node.web.network.around import HERE, WORDS, Line, lag_words, lines, plain
from atoll.node.web.network.chart import Mark, chart
from atoll.node.web.network.choosing import Choice, Order
from atoll.node.web.paging import paged, path_of

if TYPE_CHECKING:
    from aiohttp import web
    from atoll.node.app import Node

ROWS = 50


class Seen(NamedTuple):
    """``shown`` are the lines of this page of the table; the figures count all peers. ``apart``: connected peers whose
    copy of a catalogue differed when last compared. ``alone``: federations in which nobody else is known."""

    total: int
    here: int
    away: int
    kept_out: int
    apart: int
    federations: int
    charters: tuple[tuple[str, str], ...]
    alone: tuple[str, ...]
    rules: tuple[RuleView, ...]
    shown: Sequence[Line]


def seen(node: Node, request: web.Request, relayed: frozenset[str]) -> dict[str, Any]:
    """What the templates of the network need; call it in a thread."""
    now, choice = now_ms(), Choice.read(request.query)
    found = lines(node, relayed, now)
    shown, paging = paged(choice.of(found), request, ROWS)
    here = [line for line in found if line.state in HERE]
    charters = tuple((each.id.hex(), plain(each.charter.name)) for each in node.federations.all())
    shared = {each.id for line in found for each in line.common}
    facts = Seen(
        len(found), len(here), _count(found, "away"), _count(found, "refused", "denied"),
        sum(line.distance > 0 for line in here), len(node.federations.ids()),
        charters, tuple(name for id_, name in charters if id_ not in shared),
        tuple(rule_views(node)), shown,
    )  # fmt: skip
    there = {line.peer for line in shown}
    return {
        "seen": facts, "chart": chart(found), "choice": choice, "paging": paging, "states": WORDS, "now": now,
        "lag_words": lag_words, "described": described,
        "described_many": described_many, "those": those, "ordered": lambda order: _ordered(request, order),
        "place": lambda line: f"#peer-{line.number}" if line.peer in there else f"/network/peers/{line.peer}",
    }  # fmt: skip


def described(line: Line) -> str:
    """A peer in words, as one who cannot see the map needs it."""
    told = [line.name or line.short, gettext(WORDS[line.state])]
    told += [f"{each.name}: {lag_words(each.lag)}" for each in line.common] or [gettext("no federation in common")]
    return gettext("; ").join(told)


def described_many(mark: Mark) -> str:
    """Those that one mark stands for, in words."""
    count = ngettext("%(num)d peer", "%(num)d peers", mark.peers) % {"num": mark.peers}
    return gettext("; ").join((count, gettext(WORDS[mark.state])))


def those(mark: Mark) -> str:
    """Where the table shows those that one mark stands for."""
    query = {"state": mark.state} | ({"federation": mark.federation} if mark.federation else {})
    return f"/network?{urlencode(query)}#peers-title"


def _count(found: Sequence[Line], *states: str) -> int:
    return sum(line.state in states for line in found)


def _ordered(request: web.Request, order: Order) -> str:
    query = path_of(request, order=order, page="").partition("?")[2]
    return f"/network?{query}#peers-title"
