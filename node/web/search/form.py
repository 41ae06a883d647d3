"""The search form: what was filled in, with faults told by field."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast, get_args

from atoll.engine import semantic
from atoll.engine.semantic import MAX_TEXT, SemanticQuery
from atoll.engine.specs.formats import SUFFIXES
from atoll.node.language import gettext, later
from atoll.node.search.query import Privacy, SearchQuery
from atoll.node.web.parts import TABLES, Parts

LIMITS = (10, 25, 50)
FILES = (*TABLES, *SUFFIXES)
GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "task": (later("Task"), semantic.TASKS),
    "data": (later("Data"), semantic.DATA),
    "scenario": (later("Scenario"), semantic.SCENARIOS),
    "library": (later("Library"), semantic.LIBRARIES),
    "license": (later("Licence"), semantic.LICENSES),
}


@dataclass
class Form:
    """What was filled in; ``same`` is the search whose specifications are to be taken again. ``errors`` by field."""

    words: str = ""
    tags: dict[str, tuple[str, ...]] = field(default_factory=lambda: dict.fromkeys(GROUPS, ()))
    privacy: Privacy = "rkme"
    limit: int = LIMITS[0]
    island: str = ""
    impute: bool = False
    same: str = ""
    file: Path | None = None
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, query: SearchQuery) -> Form:
        """As it was filled in for a search."""
        asked = query.semantic
        return cls(asked.text, {group: getattr(asked, group) for group in GROUPS}, query.privacy, query.limit)

    @property
    def semantic(self) -> SemanticQuery:
        return SemanticQuery(text=self.words, **self.tags)

    @property
    def chosen(self) -> int:
        """How many tags."""
        return sum(map(len, self.tags.values()))

    @classmethod
    def read(cls, parts: Parts) -> Form:
        """What came, checked."""
        form = cls(file=parts.files.get("file"), errors=dict(parts.errors))
        form.take(parts)
        return form

    def take(self, parts: Parts) -> None:
        """Check and keep what the fields hold."""
        self.words = parts.first("words").strip()
        if len(self.words) > MAX_TEXT:
            self.errors["words"] = gettext("At most {most} characters.").format(most=MAX_TEXT)
        for group, (label, vocabulary) in GROUPS.items():
            self.tags[group] = tuple(dict.fromkeys(parts.values.get(group, ())))
            if not set(self.tags[group]) <= set(vocabulary):
                self.errors["tags"] = gettext("{label}: choose from the list.").format(label=gettext(label))
        privacy = parts.first("privacy") or self.privacy
        if privacy in get_args(Privacy):
            self.privacy = cast(Privacy, privacy)
        else:
            self.errors["privacy"] = gettext("Choose one of these.")
        limit = parts.first("limit") or str(self.limit)
        if limit in map(str, LIMITS):
            self.limit = int(limit)
        else:
            self.errors["limit"] = gettext("Choose one of these.")
        self.island, self.same = parts.first("island")[:64], parts.first("same")[:64]
        self.impute = bool(parts.first("impute"))
