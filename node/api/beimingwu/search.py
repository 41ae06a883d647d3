"""What is there, of the whole federation: the vocabulary, one learnware, and searches by words, by data, or by both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
from aiohttp import web
from atoll.engine.beimingwu.semantic import VOCABULARY, Asked, query
from atoll.engine.beimingwu.specifications import read_specification
from atoll.node.api.beimingwu import names, views
from atoll.node.api.beimingwu.asking import specifications
from atoll.node.api.beimingwu.envelope import Envelope, answer
from atoll.node.api.beimingwu.forms import Held, Room, read_form
from atoll.node.api.described import Field
from atoll.node.api.routing import MAX_JSON, Route
from atoll.node.clock import now_ms
from atoll.node.errors import RequestInvalid
from atoll.node.search.plan import may_be_found
from atoll.node.search.query import MAX_ALTERNATIVES, Filters, SearchQuery, SearchResult, SpecificationQuery
from atoll.node.search.running import Running
from atoll.protocol.errors import NotFound
from atoll.protocol.ids import peer_id, public_key
from atoll.protocol.listings import Listing

if TYPE_CHECKING:
    from atoll.node.app import Node

MOST = 100  # that a search by data lists
MAX_OF_STRANGERS = 2 << 20  # bytes of a specification, of whoever has no token
STATISTICAL = "statistical_specification"
FIELDS = ("semantic_specification", "limit", "page")
NO_KIND = ("Others",)  # of base, fine-tuned ... models, which our words do not tell apart
SUCCESS = "success"


class Match(NamedTuple):
    """A learnware that was found, and our similarity, from 0 to 1, if anything was compared."""

    listing: Listing
    matching: float | None = None


class Found(NamedTuple):
    """What a search has found, in order."""

    single: Sequence[Match]
    multi: Sequence[Match] = ()
    msg: str = SUCCESS


async def vocabulary(node: Node, request: web.Request) -> web.Response:
    return answer({"semantic_specification": VOCABULARY})


async def info(node: Node, request: web.Request) -> web.Response:
    """One learnware, of the catalogue or, for whoever publishes, of this dock, by id or alias."""
    given, reader = request.query.get("learnware_id", ""), names.Reader.of(request)
    found = await asyncio.to_thread(_info, node, given, reader)
    return answer({"learnware_info": msgspec.to_builtins(found)})


async def search(node: Node, request: web.Request) -> web.Response:
    reader = names.Reader.of(request)
    statistical = Held(Room(MAX_JSON if reader.user else MAX_OF_STRANGERS))
    form = await read_form(request, FIELDS, {STATISTICAL: statistical.put})
    limit, page = min(form.number("limit", 10), views.MAX_PAGE), form.number("page", 0)
    if not limit:
        raise RequestInvalid("limit is 0: nothing would be listed")
    asked = await asyncio.to_thread(query, (form.fields.get("semantic_specification") or "{}").encode())
    if statistical.data:
        found = await _by_data(node, asked, statistical.data, reader.user)
    else:
        found = await asyncio.to_thread(_by_words, node, asked, reader.user)
    shown = partial(_shown, node, reader)
    return answer(
        {
            "learnware_list_single": await asyncio.to_thread(shown, views.page_of(found.single, page, limit)),
            "learnware_list_multi": await asyncio.to_thread(shown, found.multi),
            "is_hetero": False,
            "page": page,
            "limit": limit,
            "total_pages": views.pages(len(found.single), limit),
        },
        found.msg,
    )


def _info(node: Node, given: str, reader: names.Reader) -> views.Entry:
    learnware_id = names.find(node, given, reader)
    own = node.dock.find(learnware_id) if reader.publishes else None
    if own is not None:
        return views.of_manifest(own.manifest, own.id, node.identity.peer, node.config.node.name)
    for listing in node.catalogue.versions(learnware_id, now_ms()):
        if may_be_found(listing, reader.user):
            return _entry(node, reader, Match(listing))
    raise NotFound(f"no learnware {learnware_id.hex()} in the catalogue", hint=names.HINT)


def _shown(node: Node, reader: names.Reader, found: Sequence[Match]) -> list[object]:
    return [msgspec.to_builtins(_entry(node, reader, each)) for each in found]


def _entry(node: Node, reader: names.Reader, found: Match) -> views.Entry:
    """As its listing says; in full for whoever publishes here, if it is of this dock."""
    listing, matching = found
    owner = peer_id(listing.owner)
    own = node.dock.find(listing.learnware_id) if reader.publishes and owner == node.identity.peer else None
    if own is not None:
        return views.of_manifest(own.manifest, own.id, owner, node.peers.name(owner), matching)
    return views.of_listing(listing, owner, node.peers.name(owner), matching)


def _by_words(node: Node, asked: Asked, user: str) -> Found:
    """All that fits, however much of it one owner lists; blocking."""
    if not _of_known_kind(asked):
        return Found(())
    found = node.searcher.by_words(SearchQuery(semantic=asked.query, user=user))
    return Found(_once(Match(each) for each in found if _called(each, asked.learnware_id)))


async def _by_data(node: Node, asked: Asked, data: bytes, user: str) -> Found:
    """What is nearest, MMD^2 ascending, and the best mixture."""
    told, filters = await asyncio.to_thread(_question, node, asked, data, user)
    if not told or filters is None or not _of_known_kind(asked):
        return Found((), msg="no learnware that fits is in an island of this specification")
    question = SearchQuery(
        told, asked.query, filters, MOST, node.config.beimingwu.deadline_ms, user=user, per_owner=MOST
    )
    running = node.searcher.start(question)
    result = await running.answer()
    return await asyncio.to_thread(_found, node, running, result)


def _question(
    node: Node, asked: Asked, data: bytes, user: str
) -> tuple[tuple[SpecificationQuery, ...], Filters | None]:
    """In which islands, and for which learnwares; blocking."""
    given, islands = read_specification(data), node.catalogue.islands()
    return specifications(given, asked.input_names, islands, _Listed(node, user).owners), _filters(node, asked, user)


class _Listed:
    """How many owners list something in an island that a user may find."""

    def __init__(self, node: Node, user: str) -> None:
        self._node = node
        self._user = user
        self._counted: dict[bytes, int] = {}

    def owners(self, island: bytes) -> int:
        if island not in self._counted:
            listings = self._node.catalogue.in_island(island, now_ms())
            self._counted[island] = len({each.owner for each in listings if may_be_found(each, self._user)})
        return self._counted[island]


def _filters(node: Node, asked: Asked, user: str) -> Filters | None:
    """None if nothing can pass."""
    if not asked.learnware_id:
        return Filters()
    alive = node.catalogue.alive(now_ms(), asked.query)
    ids = {each.learnware_id.hex() for each in alive if _called(each, asked.learnware_id) and may_be_found(each, user)}
    if len(ids) > MAX_ALTERNATIVES:
        raise RequestInvalid(
            f"{len(ids)} learnwares are called {asked.learnware_id[:40]!r}", hint="give more of the id"
        )
    return Filters(learnware_id=tuple(sorted(ids))) if ids else None


def _found(node: Node, running: Running, result: SearchResult) -> Found:
    """Copies come right after what they are copies of."""
    listings = {(each.id, each.owner): each.listing for each in running.candidates}
    single: list[Match] = []
    for hit in result.hits:
        single.append(Match(listings[hit.learnware_id, hit.owner], hit.similarity))
        for holder in hit.holders:
            place = (bytes.fromhex(holder.federation), public_key(holder.owner), bytes.fromhex(holder.learnware_id))
            if (copy := node.catalogue.listing(*place)) is not None:
                single.append(Match(copy, hit.similarity))
    return Found(_once(single), _mixture(running, result), _words(node, result))


def _mixture(running: Running, result: SearchResult) -> Sequence[Match]:
    """The members, in the order of their weights, with what the mixture explains of the user's data; one alone is no
    mixture."""
    if running.session is None or result.mixture is None or not result.mixture.served:
        return ()
    members = list(zip(running.session.members, result.mixture.members, strict=True))
    members.sort(key=lambda pair: -pair[1].weight)
    matching = min(1.0, max(0.0, result.mixture.explained))
    return [Match(each.listing, matching) for each, _ in members] if len(members) > 1 else ()


def _words(node: Node, result: SearchResult) -> str:
    told = [result.advice] if result.advice else []
    told += [f"{node.peers.name(peer) or peer} has not answered: {why}" for peer, why in result.peers_failed.items()]
    return "; ".join(told) or SUCCESS


def _once(found: Iterable[Match]) -> list[Match]:
    """One of each id: it is all that a client can name."""
    first: dict[bytes, Match] = {}
    for each in found:
        first.setdefault(each.listing.learnware_id, each)
    return list(first.values())


def _called(listing: Listing, given: str) -> bool:
    """Beimingwu looks for a part of the id."""
    return not given or given.lower() in listing.learnware_id.hex() or given in listing.alias


def _of_known_kind(asked: Asked) -> bool:
    return not asked.models or any(each in asked.models for each in NO_KIND)


CALLED = Field("learnware_id", Annotated[str, msgspec.Meta(max_length=400)], "an id or an alias", required=True)
SEARCH = (
    Field("semantic_specification", str, "words and tags, as JSON"),
    Field("limit", Annotated[int, msgspec.Meta(ge=1)], "how many of a page"),
    Field("page", Annotated[int, msgspec.Meta(ge=0)], "which page, from 0"),
    Field(STATISTICAL, bytes, "a statistical specification, as JSON"),
)
ROUTES = (
    Route(
        "GET", "/beimingwu/engine/semantic_specification", vocabulary, None, "Beimingwu's vocabulary of tags",
        result=Envelope, enveloped=True,
    ),
    Route(
        "GET", "/beimingwu/engine/learnware_info", info, "read", "One learnware, by id or alias, as Beimingwu has it",
        anonymous=True, result=Envelope, enveloped=True,
        query=(CALLED,),
    ),
    Route(
        "POST", "/beimingwu/engine/search_learnware", search, "read",
        "Search the federation as Beimingwu's client does: a form with semantic_specification, limit, page, and the "
        "file statistical_specification",
        anonymous=True, result=Envelope, enveloped=True,
        form=SEARCH,
    ),
)  # fmt: skip
