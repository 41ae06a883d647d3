"""What every page leads to, as far as a visitor may go there."""

from __future__ import annotations

from typing import NamedTuple

from atoll.node.language import gettext, later
from atoll.node.store.tokens import Scope
from atoll.node.web.visit import Visit


class Entry(NamedTuple):
    """``scope`` None: open to everybody."""

    path: str
    name: str
    scope: Scope | None


ENTRIES = (
    Entry("/", later("Search"), None),
    Entry("/learnwares", later("Learnwares"), "read"),
    Entry("/dock", later("My dock"), "read"),
    Entry("/requests", later("Requests"), "publish"),
    Entry("/network", later("Network"), "read"),
    Entry("/federations", later("Federations"), "read"),
    Entry("/admin", later("Administration"), "admin"),
    Entry("/docs", later("Help"), None),
)
BROWSED = "/learnwares"  # also by whoever may search without a name
WITHIN = {"/searches": "/", "/reuses": "/", "/publish": "/dock"}


class Link(NamedTuple):
    """``here``: the visitor is there; ``waiting``: how much is to be answered there."""

    path: str
    name: str
    here: bool
    waiting: int


def entries(visit: Visit) -> list[Link]:
    first = "/" + visit.request.path.split("/")[1]
    here = WITHIN.get(first, first)
    return [
        Link(path, gettext(name), path == here, visit.node.gate.requests.waiting() if path == "/requests" else 0)
        for path, name, scope in ENTRIES
        if scope is None or visit.may(scope) or (path == BROWSED and _searching_without_a_name(visit))
    ]


def _searching_without_a_name(visit: Visit) -> bool:
    return visit.token is None and visit.node.visitors.searching
