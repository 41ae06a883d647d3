"""Markdown as HTML that a page may hold whoever has written it: no HTML of theirs, no script, nothing that is loaded.

What is made of the text is sanitised once more, by a list of what may be there. Headings come below the page's own.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import MutableMapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import nh3
from atoll.engine.semantic import MAX_DESCRIPTION
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from markupsafe import Markup

SCHEMES = {"http", "https", "mailto"}
HEADINGS = {f"h{level}" for level in range(1, 7)}
TAGS = HEADINGS | {
    "p", "br", "hr", "blockquote", "pre", "code", "em", "strong", "s", "ul", "ol", "li", "a", "table", "thead", "tbody",
    "tr", "th", "td",
}  # fmt: skip
ATTRIBUTES: dict[str, set[str]] = {"a": {"href", "title"}, "ol": {"start"}}
STEERING = re.compile("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")  # characters that turn the direction of others
LOWEST = 6
NESTED = 20


def markdown(text: str, *, under: int = 1, own: bool = False) -> Markup:
    """Headings begin at the level below ``under``. Others' text has links to elsewhere only, which say nothing for it,
    and is cut where no learnware's description goes on; ``own`` text may be longer, link within this node, and has
    headings with ids."""
    shown = text if own else STEERING.sub("", text[:MAX_DESCRIPTION])
    attributes = {**ATTRIBUTES, **({each: {"id"} for each in HEADINGS} if own else {})}
    made = _parser(own).render(shown, {"under": under, "own": own})
    rel = None if own else "nofollow noopener noreferrer"
    return Markup(nh3.clean(made, tags=TAGS, attributes=attributes, url_schemes=SCHEMES, link_rel=rel))


def plain(text: str) -> str:
    """Others' text in one line, without what turns the direction of other text."""
    return " ".join(STEERING.sub("", text).split())


def summary(text: str) -> str:
    """The words of others' markdown, in one line without its marks."""
    made = _parser(False).render(text[:MAX_DESCRIPTION], {"under": 1, "own": False})
    return plain(html.unescape(nh3.clean(made, tags=set())))


@lru_cache(maxsize=2)
def _parser(own: bool) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": NESTED}).enable(["table", "strikethrough"])
    parser.core.ruler.push("below", _below)
    parser.core.ruler.push("linked", _linked)
    parser.add_render_rule("image", _image)
    parser.add_render_rule("link_close", _link_end)
    parser.validateLink = _leads_within if own else _leads_elsewhere  # type: ignore[method-assign]
    return parser


def _leads_elsewhere(url: str) -> bool:
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return False
    return parts.scheme.lower() in SCHEMES and bool(parts.netloc or parts.path)


def _leads_within(url: str) -> bool:
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return False
    return _leads_elsewhere(url) or not (parts.scheme or parts.netloc)


def _below(state: StateCore) -> None:
    """Headings one level, or more, lower; with ids where the text is ours."""
    taken: set[str] = set()
    for place, token in enumerate(state.tokens):
        if token.type not in ("heading_open", "heading_close"):
            continue
        token.tag = f"h{min(LOWEST, int(token.tag[1:]) + state.env['under'])}"
        if state.env["own"] and token.type == "heading_open":
            token.attrSet("id", _named(state.tokens[place + 1].content, taken))


def _linked(state: StateCore) -> None:
    """Every link has words, and no link is within another: an image, which becomes one, is then its words alone."""
    for block in state.tokens:
        within, children = "", block.children or []
        for place, token in enumerate(children):
            if token.type == "link_open":
                within = str(token.attrGet("href") or "")
                if children[place + 1].type == "link_close":
                    children[place + 1].meta["words"] = within
            elif token.type == "link_close":
                within = ""
            elif token.type == "image":
                token.meta["within"] = bool(within)


def _named(heading: str, taken: set[str]) -> str:
    """An id for a heading, its own within the text."""
    words = "".join(each for each in unicodedata.normalize("NFC", heading.lower()) if each.isalnum() or each in " -")
    name = "-".join(words.split()) or "section"
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    taken.add(found)
    return found


def _image(
    renderer: RendererHTML, tokens: Sequence[Token], place: int, options: OptionsDict, env: MutableMapping[str, Any]
) -> str:
    """A link to it: nothing is loaded from elsewhere."""
    token = tokens[place]
    leads = str(token.attrGet("src") or "")
    words = Markup.escape(renderer.renderInlineAsText(token.children or [], options, env) or leads)
    return str(words) if token.meta.get("within") else str(Markup('<a href="{}">{}</a>').format(leads, words))


def _link_end(
    renderer: RendererHTML, tokens: Sequence[Token], place: int, options: OptionsDict, env: MutableMapping[str, Any]
) -> str:
    return f"{Markup.escape(tokens[place].meta.get('words', ''))}</a>"
