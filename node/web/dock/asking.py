"""Requests: what others ask of this node's learnwares, what was granted, and what may be asked of others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from aiohttp import web
from atoll.node.api.policies import MAX_DAYS, RequestView, decide, received
from atoll.node.clock import now_ms
from atoll.node.errors import RequestInvalid
from atoll.node.policy.asked import AskedRow
from atoll.node.policy.requests import Verdict
from atoll.node.web.answers import html
from atoll.node.web.dock import words
from atoll.node.web.page import Page
from atoll.node.web.paging import Paging, paged
from atoll.node.web.visit import Visit
from atoll.protocol.ask import ActState
from atoll.protocol.ids import peer_id
from atoll.protocol.listings import Listing
from atoll.protocol.policy import ACTS

if TYPE_CHECKING:
    from atoll.node.app import Node

PAGE = 25
ASKABLE = 10
Group = Literal["pending", "granted", "ended", "all"]
GROUPS: tuple[Group, ...] = get_args(Group)


class Requests(NamedTuple):
    """``items`` of one page of a group; ``counts`` of all groups."""

    group: Group
    items: Sequence[RequestView]
    paging: Paging
    counts: dict[Group, int]


class Asking(NamedTuple):
    """What was asked of an owner for one learnware by one listing: when, and how it stands, act by act. ``told_at`` is
    when its owner said so, and ``listed`` whether it can be asked again."""

    name: str
    learnware_id: str
    owner: str
    federation: str
    acts: tuple[tuple[int, ActState], ...]
    told_at: int
    listed: bool


async def index(visit: Visit) -> web.Response:
    rows = await asyncio.to_thread(received, visit.node)
    askable = await asyncio.to_thread(_askable, visit)
    places, asked_paging = paged(await asyncio.to_thread(_places, visit.node), visit.request, PAGE, "asked")
    asked = await asyncio.to_thread(_asked, visit.node, places)
    return await html(
        visit, "dock/requests.html", requests=_chosen(visit, rows), says=words, askable=askable[:ASKABLE],
        more=max(0, len(askable) - ASKABLE), max_days=MAX_DAYS, asked=asked, asked_paging=asked_paging,
        said=visit.said(words.SAID),
    )  # fmt: skip


def _chosen(visit: Visit, rows: list[RequestView]) -> Requests:
    """Those of the state that the address names; without one those that wait, or all if none do."""
    groups: dict[Group, list[RequestView]] = {each: [row for row in rows if _in(each, row)] for each in GROUPS}
    groups["granted"].sort(key=lambda row: row.until)
    wanted = visit.request.query.get("state", "")
    group = next((each for each in GROUPS if each == wanted), "pending" if groups["pending"] else "all")
    shown, paging = paged(groups[group], visit.request, PAGE, state=group)
    return Requests(group, shown, paging, {each: len(of) for each, of in groups.items()})


def _in(group: Group, row: RequestView) -> bool:
    ended = row.state not in ("pending", "granted")
    return group == "all" or row.state == group or (group == "ended" and ended)


def _places(node: Node) -> list[list[AskedRow]]:
    """What was asked of others, listing by listing, the newest first."""
    places = dict[bytes, list[AskedRow]]()
    for row in node.asked.all():
        places.setdefault(row.place, []).append(row)
    return list(places.values())


def _asked(node: Node, places: Sequence[list[AskedRow]]) -> list[Asking]:
    now, found = now_ms(), []
    for rows in places:
        first = rows[0]
        listing = node.catalogue.listing(first.federation, first.owner, first.learnware_id)
        found.append(Asking(
            first.name, first.learnware_id.hex(), peer_id(first.owner), first.federation.hex(),
            tuple((row.asked_at, row.state_at(now)) for row in rows), min(row.told_at for row in rows),
            listing is not None and listing.status == "live",
        ))  # fmt: skip
    return found


def _askable(visit: Visit) -> list[Listing]:
    """Others' learnwares that are given on request."""
    own = visit.node.identity.public
    found = [
        each for each in visit.node.catalogue.alive(now_ms())
        if each.owner != own and any(getattr(each.offers, act) == "ask" for act in ACTS)
    ]  # fmt: skip
    return sorted(found, key=lambda each: (each.semantic.name.casefold(), each.learnware_id))


def _decided(act: str, state: Verdict) -> Callable[[Visit], Awaitable[web.Response]]:
    async def handle(visit: Visit) -> web.Response:
        fields, id_ = await visit.fields(), visit.request.match_info["id"]
        days = _days(fields.get("days", "")) if state == "granted" else 0
        async with visit.noting(act, id=id_) as more:
            await decide(visit.node, id_, state, more, days)
        raise web.HTTPSeeOther(f"/requests?state={_holding(fields, state)}&said={state}")

    return handle


def _days(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= MAX_DAYS):
        raise RequestInvalid(f"a grant holds for 1 to {MAX_DAYS} days")
    return int(text)


def _holding(fields: dict[str, str], state: Verdict) -> Group:
    """The group that has it now that it is decided: all where it was decided from among all."""
    if fields.get("group") not in GROUPS or fields["group"] == "all":
        return "all"
    return "granted" if state == "granted" else "ended"


PAGES = (
    Page("GET", "/requests", index, "publish"),
    Page("POST", "/requests/{id}/grant", _decided("request.grant", "granted"), "publish"),
    Page("POST", "/requests/{id}/deny", _decided("request.deny", "denied"), "publish"),
    Page("POST", "/requests/{id}/revoke", _decided("request.revoke", "revoked"), "publish"),
)
