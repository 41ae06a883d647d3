"""What is done with one learnware of the dock: paused, resumed, withdrawn, removed. The last two ask first."""

from __future__ import annotations

import asyncio

from aiohttp import web
from atoll.node.api import learnwares
from atoll.node.errors import RequestInvalid
from atoll.node.web.answers import html
from atoll.node.web.page import Page
from atoll.node.web.visit import Visit
from atoll.protocol.errors import NotFound, ProtocolError
from atoll.protocol.ids import parse_digest
from atoll.protocol.listings import Listing, State

STATES: dict[str, State] = {"paused": "paused", "live": "live"}


async def set_state(visit: Visit) -> web.Response:
    fields = await visit.fields()
    learnware_id, federation = own(visit), named_in(visit, "federation")
    state = STATES.get(fields.get("state", ""))
    if state is None:
        raise RequestInvalid("a listing is live or paused")
    subject = {"id": learnware_id.hex(), "federation": federation.hex(), "state": state}
    async with visit.noting("learnware.state", **subject):
        await learnwares.change_state(visit.node, learnware_id, federation, state)
    raise web.HTTPSeeOther(f"/dock/{learnware_id.hex()}?said={state}")


async def ask_to_withdraw(visit: Visit) -> web.Response:
    learnware_id, federation = own(visit), named_in(visit, "federation")
    listings = [_listed(visit, learnware_id, federation)]
    return await html(visit, "dock/withdraw.html", learnware=visit.node.dock.get(learnware_id), listings=listings,
                      removes=False)  # fmt: skip


async def withdraw(visit: Visit) -> web.Response:
    await visit.fields()
    learnware_id, federation = own(visit), named_in(visit, "federation")
    async with visit.noting("learnware.withdraw", id=learnware_id.hex(), federation=federation.hex()):
        await learnwares.withdraw_from(visit.node, learnware_id, federation)
    raise web.HTTPSeeOther(f"/dock/{learnware_id.hex()}?said=withdrawn")


async def ask_to_remove(visit: Visit) -> web.Response:
    learnware_id = own(visit)
    return await html(
        visit, "dock/withdraw.html", learnware=visit.node.dock.get(learnware_id),
        listings=visit.node.publisher.listed_in(learnware_id), removes=True,
    )  # fmt: skip


async def remove(visit: Visit) -> web.Response:
    await visit.fields()
    learnware_id = own(visit)
    async with visit.noting("learnware.remove", id=learnware_id.hex()):
        await learnwares.withdraw(visit.node, learnware_id)
    raise web.HTTPSeeOther("/dock?said=removed")


async def forget(visit: Visit) -> web.Response:
    """Remove a package of somebody else's from this node; it can be fetched again while its owner offers it."""
    await visit.fields()
    revision = named_in(visit, "revision")
    async with visit.noting("download.forget", revision=revision.hex()):
        await asyncio.to_thread(visit.node.downloads.forget, revision)
    raise web.HTTPSeeOther("/dock?said=forgotten#downloads")


def own(visit: Visit) -> bytes:
    """The id in the address; NotFound unless it is one of this dock."""
    return visit.node.dock.get(named_in(visit, "id")).id


def named_in(visit: Visit, part: str) -> bytes:
    """What the address names by 64 hex digits; NotFound where it does not."""
    try:
        return parse_digest(visit.request.match_info[part])
    except ProtocolError as error:
        raise NotFound(error.message) from None


def listed(visit: Visit, learnware_id: bytes, federation: bytes) -> Listing | None:
    """Its listing in a federation of this node; NotFound for another's."""
    visit.node.federations.get(federation)
    found = visit.node.publisher.listed_in(learnware_id)
    return next((each for each in found if each.federation == federation), None)


def _listed(visit: Visit, learnware_id: bytes, federation: bytes) -> Listing:
    found = listed(visit, learnware_id, federation)
    if found is None:
        raise NotFound("the learnware is not listed in this federation")
    return found


PAGES = (
    Page("POST", "/dock/{id}/state/{federation}", set_state, "publish"),
    Page("GET", "/dock/{id}/withdraw/{federation}", ask_to_withdraw, "publish"),
    Page("POST", "/dock/{id}/withdraw/{federation}", withdraw, "publish"),
    Page("GET", "/dock/{id}/remove", ask_to_remove, "publish"),
    Page("POST", "/dock/{id}/remove", remove, "publish"),
    Page("POST", "/dock/downloads/{revision}/remove", forget, "admin"),
)
