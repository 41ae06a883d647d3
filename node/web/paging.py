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


def paged(items: Sequence[T], request: web.Request, size: int) -> tuple[Sequence[T], Paging]:
    """Those of the page that the query's ``page`` (from 1) names, the last one if there are fewer."""
    asked = request.query.get("page", "1")
    page = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 9 else 1
    page = max(1, min(page, -(-len(items) // size)))
    start = (page - 1) * size
    shown = items[start : start + size]
    earlier = path_of(request, page=str(page - 1)) if page > 1 else ""
    later = path_of(request, page=str(page + 1)) if start + size < len(items) else ""
    return shown, Paging(start + 1, start + len(shown), len(items), earlier, later)


def path_of(request: web.Request, **changed: str) -> str:
    """This page with other fields in its query; those that become empty are left out."""
    query: MultiDict[str] = MultiDict(request.query)
    for name, value in changed.items():
        query.popall(name, None)
        if value:
            query.add(name, value)
    return str(request.rel_url.with_query(query))
