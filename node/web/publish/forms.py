"""The forms of the stepper: what was filled in, with faults told by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from atoll.engine import semantic
from atoll.engine.errors import SpecificationError
from atoll.engine.semantic import SemanticSpec, told_apart
from atoll.engine.specs.rkme import MAX_POINTS
from atoll.node.language import gettext
from atoll.node.store.ledger import MAX_DATASET
from atoll.node.web.answers import sentence
from atoll.node.web.parts import Parts
from atoll.node.web.publish.drafts import Draft
from atoll.protocol.ids import parse_digest
from atoll.protocol.listings import Audience

POINTS = 100
DELTA = 1e-6
MAX_CLASSES, MAX_CLASS_NAME, MAX_COLUMN = 1000, 200, 200
GROUPS: dict[str, tuple[str, ...]] = {
    "task": semantic.TASKS, "data": semantic.DATA, "library": semantic.LIBRARIES, "license": semantic.LICENSES,
}  # fmt: skip
OWN = "LicenseRef-"
AUDIENCES: tuple[Audience, ...] = get_args(Audience)


@dataclass
class ModelForm:
    """Of the first step, beside the model: rows, and how they are made a specification. ``epsilon`` "" is without
    differential privacy."""

    target: str = ""
    classes: tuple[str, ...] = ()
    size: int = POINTS
    mint: bool = False
    epsilon: str = ""
    dataset: str = ""
    rows: Path | None = None
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, draft: Draft) -> ModelForm:
        """As it was filled in, as far as that is known."""
        packed = draft.packed
        return cls(target=draft.target, classes=packed.class_names if packed else ())

    @classmethod
    def read(cls, parts: Parts) -> ModelForm:
        form = cls(parts.first("target").strip(), rows=parts.files.get("rows"), errors=dict(parts.errors))
        form.mint, form.dataset = bool(parts.first("mint")), parts.first("data_name").strip()
        form.epsilon = parts.first("epsilon").strip()
        form._take_classes(parts.first("classes"))
        form._take_size(parts.first("size").strip())
        form._check()
        return form

    @property
    def budget(self) -> float | None:
        return float(self.epsilon) if self.epsilon else None

    @property
    def changed(self) -> bool:
        """Whether there is something in what is folded away."""
        return bool(
            self.size != POINTS or self.mint or self.epsilon or {"size", "epsilon", "data_name"} & set(self.errors)
        )

    def _take_classes(self, text: str) -> None:
        separator = "\n" if "\n" in text.strip() else ","
        self.classes = tuple(name.strip() for name in text.split(separator) if name.strip())
        if len(self.classes) > MAX_CLASSES or any(len(name) > MAX_CLASS_NAME for name in self.classes):
            self.errors["classes"] = gettext("At most {count} names.").format(count=MAX_CLASSES)
        elif not told_apart(self.classes):
            self.errors["classes"] = gettext("Two classes have one name.")

    def _take_size(self, text: str) -> None:
        if not text:
            return
        if text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= MAX_POINTS:
            self.size = int(text)
        else:
            self.errors["size"] = gettext("A number from 1 to {most}.").format(most=MAX_POINTS)

    def _check(self) -> None:
        if len(self.target) > MAX_COLUMN:
            self.errors["target"] = gettext("At most {count} characters.").format(count=MAX_COLUMN)
        if self.rows is None:
            self.errors.setdefault("rows", gettext("Give the rows that the model is good on."))
        if self.epsilon and not _is_budget(self.epsilon):
            self.errors["epsilon"] = gettext("A number above 0, up to 10.")
        if self.epsilon and not 1 <= len(self.dataset) <= MAX_DATASET:
            self.errors["data_name"] = gettext("Name the data set: what is spent on it adds up under this name.")


@dataclass
class WordsForm:
    """Of the second step. ``seen`` is which words there were when it was shown (Draft.worded), and ``overtaken`` that
    there are others by now."""

    name: str = ""
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    scenario: tuple[str, ...] = ()
    seen: str | None = None
    overtaken: bool = False
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def own_license(self) -> str:
        """The name of a licence that is in no list."""
        license_ = self.tags.get("license", "")
        return license_.removeprefix(OWN) if license_.startswith(OWN) else ""

    @classmethod
    def of(cls, words: SemanticSpec, seen: str) -> WordsForm:
        tags = {group: getattr(words, group) for group in GROUPS}
        return cls(words.name, words.description, tags, words.scenario, seen)

    @classmethod
    def read(cls, fields: Mapping[str, Sequence[str]]) -> WordsForm:
        first = {name: values[0] for name, values in fields.items()}
        tags = {group: first.get(group, "") for group in GROUPS}
        if own := " ".join(first.get("own_license", "").split()).removeprefix(OWN):
            tags["license"] = OWN + own.replace(" ", "-")
        description = first.get("description", "").replace("\r\n", "\n")
        scenario = tuple(dict.fromkeys(fields.get("scenario", ())))
        form = cls(first.get("name", "").strip(), description, tags, scenario, first.get("seen"))
        form._check()
        return form

    def words(self) -> SemanticSpec:
        """The words; SpecificationError where the vocabulary has others."""
        return SemanticSpec(self.name, self.description, scenario=self.scenario, **self.tags).check()

    def _check(self) -> None:
        most = semantic.MAX_NAME
        if not 1 <= len(self.name) <= most:
            self.errors["name"] = gettext("A name of 1 to {most} characters.").format(most=most)
        if len(self.description) > semantic.MAX_DESCRIPTION:
            told = gettext("At most {count} characters.")
            self.errors["description"] = told.format(count=semantic.MAX_DESCRIPTION)
        if not self.scenario:
            self.errors["scenario"] = gettext("Choose at least one.")
        if self.own_license and not semantic.OWN_LICENSE.fullmatch(self.tags["license"]):
            told = gettext("At most 60 Latin letters, digits, dots and hyphens.")
            self.errors["own_license"] = told
        for group, allowed in GROUPS.items():
            if self.tags[group] not in allowed and not (group == "license" and self.own_license):
                self.errors[group] = gettext("Choose one of these.")
        if not self.errors:
            try:
                self.words()
            except SpecificationError as error:
                self.errors["scenario"] = sentence(error)


@dataclass
class ListingForm:
    """Of the last step: where, and by which of the ready policies."""

    federation: str = ""
    policy: str = "private"
    sure: bool = False
    few_rows: bool = False
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> ListingForm:
        policy = fields.get("policy", "") or "private"
        return cls(fields.get("federation", ""), policy, bool(fields.get("sure")), bool(fields.get("few_rows")))

    def id(self) -> bytes:
        """Of the federation; ProtocolError for what is none."""
        return parse_digest(self.federation)


def _is_budget(text: str) -> bool:
    try:
        return 0 < float(text) <= 10
    except ValueError:
        return False
