"""Which learnware is meant: its id here, or its alias, what it was called where it came from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from atoll.node.api.routing import TOKEN, user_of
from atoll.node.clock import now_ms
from atoll.node.errors import RequestInvalid
from atoll.node.search.plan import may_be_found
from atoll.node.store.tokens import TokenRow
from atoll.protocol.errors import NotFound
from atoll.protocol.ids import peer_id

if TYPE_CHECKING:
    from atoll.node.app import Node

_ID = re.compile("[0-9a-fA-F]{64}")
HINT = "search for it, or see /beimingwu/user/list_learnware"
SHOWN = 8


class Reader(msgspec.Struct, frozen=True):
    """Who asks: ``user`` as node.api.routing.user_of; whoever ``publishes`` may see all that is in this dock."""

    user: str
    publishes: bool

    @classmethod
    def of(cls, request: web.Request) -> Reader:
        token: TokenRow | None = request.get(TOKEN)
        scopes = token.scopes if token is not None else ()
        return cls(user_of(request), bool({"publish", "admin"} & {*scopes}))


class Named(msgspec.Struct, frozen=True):
    """A learnware that may be meant; ``words`` tell it from others."""

    id: bytes
    alias: str
    words: str


def the_one(given: str, known: Iterable[Named]) -> bytes:
    """The id of what is called ``given``: an id, which need not be known, or the alias of one of ``known``. NotFound,
    or RequestInvalid naming all that it may be."""
    if not given:
        raise RequestInvalid("no learnware_id is given", hint=HINT)
    if _ID.fullmatch(given):
        return bytes.fromhex(given)
    meant = {each.id: each.words for each in known if each.alias == given}
    if not meant:
        raise NotFound(f"no learnware {given[:64]!r} here, neither by its id nor by an alias", hint=HINT)
    if len(meant) > 1:
        listed = "; ".join(f"{id_.hex()} ({words})" for id_, words in sorted(meant.items())[:SHOWN])
        raise RequestInvalid(f"{len(meant)} learnwares are called {given!r}: {listed}", hint="give the id of one")
    return next(iter(meant))


def find(node: Node, given: str, reader: Reader) -> bytes:
    """What is meant, of all that ``reader`` may see; as :func:`the_one`, blocking."""
    given = given.strip()
    return the_one(given, (*(own(node) if reader.publishes else ()), *_listed(node, given, reader.user)))


def find_own(node: Node, given: str) -> bytes:
    """Of this dock; NotFound for all else."""
    found = the_one(given.strip(), own(node))
    node.dock.get(found)
    return found


def own(node: Node) -> list[Named]:
    """What is in this dock, listed or not."""
    return [Named(each.id, each.manifest.alias, each.manifest.semantic.name) for each in node.dock.all()]


def _listed(node: Node, alias: str, user: str) -> Iterable[Named]:
    for each in node.catalogue.versions(alias, now_ms()) if alias else ():
        if may_be_found(each, user):
            owner = peer_id(each.owner)
            yield Named(each.learnware_id, each.alias, f"{each.semantic.name}, of {node.peers.name(owner) or owner}")
