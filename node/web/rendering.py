"""Templates, compiled once at import, every value escaped; and the names of peers and federations in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2
from atoll.engine.errors import AtollError
from atoll.engine.semantic import MAX_TEXT
from atoll.node import language
from atoll.node.clock import now_ms
from atoll.node.reuse import report
from atoll.node.reuse import words as reuse_words
from atoll.node.reuse.brief import LEARNING
from atoll.node.reuse.query import MAX_MEMBERS
from atoll.node.web.markdown import summary
from atoll.node.web.navigation import entries
from atoll.node.web.parts import MAX_UPLOAD, TABLES
from atoll.node.web.predict import words as predict_words
from atoll.node.web.search import overlay
from atoll.node.web.search import words as search_words
from atoll.node.web.search.form import FILES, GROUPS, LIMITS
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from atoll.node.app import Node

SHORT = 8
TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class Asset(NamedTuple):
    """A static file; ``version`` is of its content."""

    data: bytes
    type: str
    version: str


class Names:
    """What ids are called, as far as this node knows. All of it is others' text."""

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def node(self) -> str:
        return self._node.config.node.name

    def peer(self, peer: str) -> str:
        """Its name, or the end of its id."""
        return self._node.peers.name(peer) or f"…{peer[-SHORT:]}"

    def federation(self, id_: str) -> str:
        try:
            return self._node.federations.get(bytes.fromhex(id_)).charter.name
        except (AtollError, ValueError):  # left since
            return short(id_)


def render(template: str, node: Node, **values: Any) -> str:
    """A page or a part of one; takes milliseconds, and with a picture more: call it in a thread."""
    return _environment.get_template(template).render(names=Names(node), **values)


def told(text: str) -> Markup:
    """What an error says, or one of us; of another language than the page where it is not translated."""
    foreign = isinstance(text, language.English) and text and language.current() != language.DEFAULT
    return Markup('<span lang="en">{}</span>').format(text) if foreign else escape(text)


def short(id_: str) -> str:
    return id_[:SHORT]


def _read(folder: str) -> dict[str, bytes]:
    """Files by their path in that folder of this package."""
    return {name: file.read_bytes() for name, file in _files(resources.files("atoll.node.web").joinpath(folder))}


def _files(folder: Traversable, within: str = "") -> Iterator[tuple[str, Traversable]]:
    for each in folder.iterdir():
        if each.is_dir():
            yield from _files(each, f"{within}{each.name}/")
        elif "." in each.name:
            yield f"{within}{each.name}", each


def _compiled() -> jinja2.Environment:
    sources = {name: data.decode() for name, data in _read("templates").items()}
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(sources), autoescape=True, auto_reload=False, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.i18n"],
    )  # fmt: skip
    language.install(environment)
    environment.filters |= {
        "moment": language.moment, "size": language.size, "number": language.number, "told": told,
        "summary": summary,
    }  # fmt: skip
    environment.globals |= {
        "words": search_words, "planned": predict_words, "short": short, "chosen": overlay.chosen,
        "box": (overlay.WIDTH, overlay.HEIGHT),
        "asset": lambda name: f"/static/{name}?v={ASSETS[name].version}", "groups": GROUPS, "limits": LIMITS,
        "files": FILES, "tables": TABLES, "max_upload": MAX_UPLOAD, "max_text": MAX_TEXT,
        "figures": report.figures,
        "say": reuse_words, "learning": LEARNING, "max_members": MAX_MEMBERS, "languages": language.LANGUAGES,
        "language": language.current, "entries": entries, "ago": lambda at: language.ago(at, now_ms()),
    }  # fmt: skip
    for name in sources:
        environment.get_template(name)
    return environment


def _static() -> dict[str, bytes]:
    """The files, and the style of the report, which is a page of its own, for where it is a part of one of these."""
    return {**_read("static"), "report.css": f".report {{\n{report.STYLE}\n}}".encode()}


ASSETS = {
    name: Asset(data, TYPES[name.rpartition(".")[2]], hashlib.sha256(data).hexdigest()[:12])
    for name, data in _static().items()
}
_environment = _compiled()
