"""What the code says to people, as the tests of translations read it: from templates and from Python."""

import io
import re
from collections import defaultdict
from importlib import resources

from babel.messages.extract import extract
from jinja2.ext import babel_extract

KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "later": None}
TEMPLATES = {
    "extensions": "jinja2.ext.i18n", "trim_blocks": "true", "lstrip_blocks": "true", "trimmed": "true",
    "newstyle_gettext": "true", "silent": "false",
}  # fmt: skip
PLACEHOLDER = re.compile(r"%\(\w+\)s|\{\w*\}")
ELEMENT = re.compile(r"</?\w+[^>]*>")


def said(package="atoll.node"):
    """Where each message is said: {message, or (one, many): [file:line]}."""
    found = defaultdict(list)
    for name, file in _files(resources.files(package)):
        if name.endswith(".html"):
            told = babel_extract(io.BytesIO(file.read_bytes()), [*KEYWORDS], [], TEMPLATES)
        elif name.endswith(".py"):
            told = (each[:3] for each in extract("python", io.BytesIO(file.read_bytes()), KEYWORDS))
            told = ((line, "", message) for line, message, _ in told)
        else:
            continue
        for line, _, message, *_ in told:
            texts = [each for each in (message if isinstance(message, tuple) else (message,)) if each]
            if texts:  # else what is said is no literal: it was marked where it is made
                found[tuple(texts) if len(texts) > 1 else texts[0]].append(f"{name}:{line}")
    return dict(found)


def parts(text):
    """What a translation has to keep: placeholders, and elements."""
    return sorted(PLACEHOLDER.findall(text)), sorted(ELEMENT.findall(text))


def _files(folder, within=""):
    for each in folder.iterdir():
        if each.is_dir():
            yield from _files(each, f"{within}{each.name}/")
        else:
            yield f"{within}{each.name}", each
