"""Who looks at a page: somebody signed in, or a browser that is told apart by a random id and nothing else."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web
from atoll.node.api.acts import noting
from atoll.node.api.auth import FORM_HEADER, signed_in
from atoll.node.api.routing import NODE
from atoll.node.api.sessions import new_id
from atoll.node.errors import Forbidden, Forged, Unauthorised
from atoll.node.language import LANGUAGES, gettext, preferred
from atoll.node.store.tokens import Scope, TokenRow
from atoll.node.web.headers import set_cookie
from atoll.node.web.parts import MAX_SMALL_FIELDS, MAX_SMALL_FORM, read_form
from markupsafe import Markup

if TYPE_CHECKING:
    from atoll.node.app import Node

LANGUAGE_COOKIE = "atoll_language"  # no secret, and the same for all nodes of a host
VISITOR_SECONDS = 30 * 86_400
ID_LENGTH = 43  # characters, as new_id makes them


@dataclass(frozen=True)
class Visit:
    """``id`` is that of the session if there is a ``token``, else of the visitor; ``fresh``: the browser had none."""

    node: Node
    request: web.Request
    token: TokenRow | None
    id: str
    fresh: bool

    @property
    def user(self) -> str:
        """As searches know users: empty for somebody unknown."""
        return self.token.id if self.token is not None else ""

    @property
    def language(self) -> str:
        """That which was chosen, else the best that the browser asks for."""
        chosen = self.request.cookies.get(LANGUAGE_COOKIE, "")
        return chosen if chosen in LANGUAGES else preferred(self.request.headers.get("Accept-Language", ""))

    def may(self, scope: Scope) -> bool:
        """Whether somebody is signed in whose token has that scope."""
        return self.token is not None and self.token.allows(scope)

    @property
    def csrf(self) -> Markup:
        """The field by which each form of ours is known."""
        return Markup('<input type="hidden" name="csrf" value="{}">').format(self.node.sessions.form_token(self.id))

    def said(self, words: Mapping[str, str]) -> str:
        """What was done before this page, in words: those of the code in its address, empty for none of them."""
        known = words.get(self.request.query.get("said", ""))
        return gettext(known) if known is not None else ""

    def noting(self, act: str, **subject: str) -> AbstractAsyncContextManager[dict[str, str]]:
        """What the block does is in the audit log, as an act of whoever is signed in; and what it adds, with the
        outcome."""
        assert self.token is not None  # nobody else may do what is an act
        return noting(self.node.audit, self.token, act, subject)

    async def fields(self) -> dict[str, str]:
        """Those of a form without files that a page of ours has sent; Forged, or RequestInvalid, otherwise."""
        return {name: values[0] for name, values in (await self.lists(MAX_SMALL_FORM, MAX_SMALL_FIELDS)).items()}

    async def lists(self, size: int, count: int) -> dict[str, list[str]]:
        """As :meth:`fields`, with every value of each, for larger forms: ``count`` fields in ``size`` bytes."""
        fields = await read_form(self.request, size, count)
        self.check_form(next(iter(fields.get("csrf", ())), ""))
        return fields

    def check_form(self, given: str) -> None:
        """Forged unless a page that was shown to this browser has sent it."""
        genuine = not self.fresh and self.node.sessions.genuine(self.id, given)
        if not genuine:
            raise Forged("this form is stale, or was not made by this node", hint="load the page anew and try again")

    def check_header(self) -> bool:
        """Whether a script of ours has sent the form's token ahead of the form; Forged if it is not that."""
        given = self.request.headers.get(FORM_HEADER)
        if given is not None:
            self.check_form(given)
        return given is not None

    def check_may_search(self) -> None:
        """Unauthorised, or TooOften, unless this visitor may search now."""
        if self.token is None:
            self.node.visitors.search(self.request, time.monotonic())

    def check_may_look(self) -> None:
        """Unauthorised unless this visitor may see what searches find."""
        if self.token is None:
            self.node.visitors.admit()

    def check_may(self, scope: Scope) -> None:
        """Unauthorised, or Forbidden, unless somebody is signed in whose token has that scope."""
        if self.token is None:
            raise Unauthorised("this needs a token", hint=f"sign in with one that has the scope {scope}")
        if not self.may(scope):
            raise Forbidden(
                f"the token {self.token.name} lacks the scope {scope}",
                hint=f"sign in with one that has it: `atoll token create NAME --scope {scope}`",
            )

    def mark(self, response: web.StreamResponse) -> None:
        """Give the browser its id, so that its forms are known again."""
        if self.fresh:
            set_cookie(self.request, response, self.node.sessions.visitor_cookie, self.id, VISITOR_SECONDS)


async def visit(request: web.Request) -> Visit:
    node = request.app[NODE]
    id_, token = await signed_in(request)
    if token is not None:
        return Visit(node, request, token, id_, fresh=False)
    known = request.cookies.get(node.sessions.visitor_cookie, "")
    fresh = len(known) != ID_LENGTH
    return Visit(node, request, None, new_id() if fresh else known, fresh)
