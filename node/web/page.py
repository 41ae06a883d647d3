"""What a room of the web page declares: where its pages are, and what a visitor's token must allow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from atoll.node.store.tokens import Scope
from atoll.node.web.visit import Visit

Handler = Callable[[Visit], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Page:
    """``scope`` is asked of whoever is signed in before the handler runs; None leaves it to the handler, which then
    says itself who may see what. Whatever is not a GET has a form token that the handler checks (Visit.fields,
    Visit.check_form), and if it changes the node, an act in the audit log (Visit.noting)."""

    method: str
    path: str
    handler: Handler
    scope: Scope | None = None
