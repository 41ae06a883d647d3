"""A package through this node: where it stands, fetching it with its progress, and handing it over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from aiohttp import web
from atoll.node.api.downloads import DownloadView, FailureView, Fetching, send_package
from atoll.node.api.streaming import last_event
from atoll.node.language import gettext
from atoll.node.reuse.result import Downloading
from atoll.node.web.following import Part, Told, followed
from atoll.node.web.headers import HEADERS
from atoll.node.web.learnwares.about import acting
from atoll.node.web.learnwares.finding import Shown, find
from atoll.node.web.learnwares.kept import KEPT
from atoll.node.web.rendering import render
from atoll.protocol.errors import NotFound

if TYPE_CHECKING:
    from atoll.node.web.visit import Visit

State = Literal["own", "here", "coming", "failed", "not here"]


class Fetch(NamedTuple):
    """``size`` is 0 while it is not known; ``why`` it has failed."""

    state: State
    done: int = 0
    size: int = 0
    why: str = ""

    @property
    def per_cent(self) -> int:
        return int(100 * self.done / self.size) if self.size else 0


def stands(visit: Visit, shown: Shown) -> Fetch:
    """Of the present revision, for this visitor."""
    if shown.own is not None:
        return Fetch("own", size=visit.node.dock.served_path(shown.own).stat().st_size)
    if shown.row is not None:
        return Fetch("here", size=shown.row.package_size)
    fetching = visit.request.app[KEPT].fetching(visit.user, shown.revision) if visit.token is not None else None
    return _so_far(fetching) if fetching is not None else Fetch("not here")


def _so_far(fetching: Fetching) -> Fetch:
    found = next(filter(None, (_told(event.data) for event in reversed(fetching.so_far))), Fetch("coming"))
    return found if not fetching.ended or found.state != "coming" else Fetch("failed", why=gettext("it was broken off"))


def _told(said: object) -> Fetch | None:
    match said:
        case Downloading() as download:
            return Fetch("coming", download.done, download.size)
        case DownloadView() as here:
            return Fetch("here", here.size, here.size)
        case FailureView() as failure:
            return Fetch("failed", why=failure.detail)
    return None


async def begin(visit: Visit) -> web.Response:
    """Fetch it, in a task of the node; then to the page that tells how far it is."""
    await visit.fields()
    shown = await asyncio.to_thread(find, visit)
    listing, kept = acting(visit, shown, "download"), visit.request.app[KEPT]
    if listing is None or shown.own is not None:
        raise NotFound("there is nothing to fetch: it is of this node, or not listed now")
    under_way = kept.fetching(visit.user, listing.revision)
    if under_way is None or under_way.ended:
        kept.check_room(visit.user)
        fetching = Fetching(visit.node, visit.user, {shown.hex: listing})
        fetching.task = asyncio.get_running_loop().create_task(_run(visit, shown, fetching))
        fetching.task.add_done_callback(lambda _: fetching.wake())  # what follows it ends with it
        kept.begin(visit.user, listing.revision, fetching)
    raise web.HTTPSeeOther(f"{shown.address}#package")


async def _run(visit: Visit, shown: Shown, fetching: Fetching) -> None:
    async with visit.noting("download.fetch", learnwares=shown.hex):
        await fetching.run()


async def events(visit: Visit) -> web.StreamResponse:
    """How far it is, as server-sent events with the part of the page in them."""
    shown = await asyncio.to_thread(find, visit)
    fetching = visit.request.app[KEPT].fetching(visit.user, shown.revision)
    if fetching is None:
        raise NotFound("nothing is being fetched of it", hint="fetch it from its page")
    after = last_event(visit.request)

    async def told() -> AsyncIterator[Told]:
        async for event in fetching.events(after):
            part = await asyncio.to_thread(_part, visit, shown, _so_far(fetching))
            yield Told(part, event.event == "end", event.id)

    return await followed(visit, told())


def _part(visit: Visit, shown: Shown, fetch: Fetch) -> Part:
    if fetch.state == "here":
        told = gettext("The package is here.")
    elif fetch.state == "failed":
        told = gettext("It could not be fetched.")
    else:
        told = gettext("Fetching: {share} per cent").format(share=fetch.per_cent - fetch.per_cent % 10)
    html = render("learnwares/_fetch.html", visit.node, visit=visit, shown=shown, fetch=fetch, fetching_allowed=True)
    return Part(told, "fetch", html=html)


async def package(visit: Visit) -> web.StreamResponse:
    """The file, once it is here for this visitor; one of this dock at once."""
    shown = await asyncio.to_thread(find, visit)
    assert visit.token is not None  # the page takes a scope
    headers = {**HEADERS, "Cache-Control": "no-store"}  # it is on its way before the page is guarded
    return await send_package(visit.node, visit.request, shown.revision, visit.token, headers)
