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
WITHIN = {"/searches": "/", "/reuses": "/", "/publish": "/dock"}


def entries(visit: Visit) -> list[tuple[str, str, bool]]:
    """(path, name, whether the visitor is there)."""
    first = "/" + visit.request.path.split("/")[1]
    here = WITHIN.get(first, first)
    return [(path, gettext(name), path == here) for path, name, scope in ENTRIES if scope is None or visit.may(scope)]
