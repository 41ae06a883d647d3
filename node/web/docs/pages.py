"""The documentation, on every node: contents and pages, for everybody."""

from __future__ import annotations

import asyncio
import re
from functools import cache
from typing import NamedTuple

from aiohttp import web
from atoll.node.docs import contents
from atoll.node.language import current, gettext
from atoll.node.web.answers import html
from atoll.node.web.markdown import markdown
from atoll.node.web.page import Page
from atoll.node.web.visit import Visit
from atoll.protocol.errors import NotFound
from markupsafe import Markup

FILE = re.compile(r'href="(?:\.\./)?([a-z-]+)\.md(?=["#])')
HEADING = re.compile(r'<h2 id="([^"]+)">(.*?)</h2>')


class Rendered(NamedTuple):
    """A page of the documentation, its heading apart; ``language`` is that of its text, ``sections`` (id, heading)."""

    title: Markup
    body: Markup
    language: str
    sections: tuple[tuple[str, Markup], ...]


async def index(visit: Visit) -> web.Response:
    """Every page, and what it is about."""
    return await html(visit, "docs/index.html", groups=contents.GROUPS)


async def show(visit: Visit) -> web.Response:
    """One page; NotFound if there is none of that name."""
    page = contents.page(visit.request.match_info["page"])
    if page is None:
        raise NotFound("there is no such page", hint="/docs lists all of them")
    before, after = contents.neighbours(page.name)
    shown = await asyncio.to_thread(rendered, page.name, current())
    return await html(
        visit, "docs/page.html", groups=contents.GROUPS, page=page, shown=shown, before=before, after=after
    )


@cache
def rendered(name: str, language: str) -> Rendered:
    """The text of a page as HTML; what is wider than the page can be scrolled by keyboard."""
    text, spoken = contents.text(name, language)
    body = FILE.sub(r'href="/docs/\1', str(markdown(text, under=0, own=True)))
    label = Markup.escape(gettext("Table"))
    frame = f'<div class="wide" tabindex="0" role="region" aria-label="{label}"><table>'
    body = body.replace("<table>", frame).replace("</table>", "</table></div>").replace("<pre>", '<pre tabindex="0">')
    sections = tuple((id_, Markup(words)) for id_, words in HEADING.findall(body))
    title, end, rest = body.partition("</h1>")
    return Rendered(Markup(title + end), Markup(rest), spoken, sections)


PAGES: tuple[Page, ...] = (Page("GET", "/docs", index), Page("GET", "/docs/{page}", show))
