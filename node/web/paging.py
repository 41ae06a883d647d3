"""Long lists, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from aiohttp import web
from multidict import MultiDict

T = TypeVar("T")


class Paging(NamedTuple):
    """Where a page of a list is; ``earlier`` and ``later`` are paths, empty where nothing is."""

    first: int
    last: int
    total: int
    earlier: str
    later: str


def paged(
    items: Sequence[T], request: web.Request, size: int, name: str = "page", **also: str
) -> tuple[Sequence[T], Paging]:
    """Those of the page that the query's field ``name`` says, the last one if there are fewer; ``also``: what else the
    addresses of the others say."""
    page = max(1, min(number(request.query.get(name, "")), -(-len(items) // size)))
    start = (page - 1) * size
    shown = items[start : start + size]
    earlier = path_of(request, **also, **{name: str(page - 1)}) if page > 1 else ""
    later = path_of(request, **also, **{name: str(page + 1)}) if start + size < len(items) else ""
    return shown, Paging(start + 1, start + len(shown), len(items), earlier, later)


def number(text: str) -> int:
    """The number of a page, from 1, as an address says it; 1 for what is none."""
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 9 else 1


def path_of(request: web.Request, **changed: str) -> str:
    """This page with other fields in its query; those that become empty are left out, and so is what was done."""
    query: MultiDict[str] = MultiDict(request.query)
    query.popall("said", None)
    for name, value in changed.items():
        query.popall(name, None)
        if value:
            query.add(name, value)
    return str(request.rel_url.with_query(query))
