"""Semantic specification: what a learnware does, in tags and words, with the vocabulary of Beimingwu.

Matching follows Beimingwu (arXiv 2401.14427, section 3.2): tags filter; then exact substring, else fuzzy text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec
from atoll.engine.errors import SpecificationError
from rapidfuzz import fuzz, process

DATA = ("Table", "Image", "Text")
TASKS = (
    "Classification", "Regression", "Feature Extraction", "Segmentation", "Object Detection", "Text Generation",
    "Others",
)  # fmt: skip
LIBRARIES = ("Scikit-learn", "PyTorch", "TensorFlow", "Others")
SCENARIOS = (
    "Business", "Financial", "Health", "Politics", "Computer", "Internet", "Traffic", "Nature", "Fashion",
    "Industry", "Agriculture", "Education", "Entertainment", "Architecture", "Others",
)  # fmt: skip
LICENSES = (
    "MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "GPL-2.0", "GPL-3.0", "LGPL-2.1", "LGPL-3.0", "AGPL-3.0",
    "ECL-2.0", "AFL-3.0", "CC-BY-4.0", "CC-BY-SA-4.0", "Others",
)  # fmt: skip
OWN_LICENSE = re.compile(r"LicenseRef-[A-Za-z0-9.-]{1,60}")
"""A licence that is in no list, as SPDX (annex D) names it."""
MAX_NAME, MAX_DESCRIPTION, MAX_SUMMARY = 80, 10_000, 280
FUZZY_THRESHOLD = 75.0  # rapidfuzz partial_ratio, as Beimingwu
EXACT, ALIKE = 100.0, 99.9  # a text that holds the whole name of a learnware is alike, not found in it


class SemanticSpec(msgspec.Struct, frozen=True):
    """Name, description (markdown) and one choice per tag group; ``scenario`` takes one or more, ``license`` also
    LicenseRef-NAME for one of its owner's own, which is among the others to whoever filters."""

    name: str
    description: str = ""
    data: str = "Table"
    task: str = "Classification"
    library: str = "Scikit-learn"
    scenario: tuple[str, ...] = ("Others",)
    license: str = "Others"

    def check(self) -> SemanticSpec:
        """Itself, or SpecificationError naming the field, the value and what is allowed."""
        if not 1 <= len(self.name.strip()) <= MAX_NAME:
            raise SpecificationError(f"name: 1 to {MAX_NAME} characters, got {len(self.name)}")
        if len(self.description) > MAX_DESCRIPTION:
            raise SpecificationError(f"description: at most {MAX_DESCRIPTION} characters")
        _one_of("data", self.data, DATA)
        _one_of("task", self.task, TASKS)
        _one_of("library", self.library, LIBRARIES)
        if not OWN_LICENSE.fullmatch(self.license):
            _one_of("license", self.license, LICENSES, also="LicenseRef-NAME for one of your own")
        if not self.scenario:
            raise SpecificationError(f"scenario: at least one of {', '.join(SCENARIOS)}")
        for scenario in self.scenario:
            _one_of("scenario", scenario, SCENARIOS)
        return self

    def tags(self) -> Iterator[tuple[str, str]]:
        """(group, value) of every tag."""
        yield from (("data", self.data), ("task", self.task), ("library", self.library), ("license", self.license))
        yield from (("scenario", value) for value in self.scenario)
        if self.license not in LICENSES:
            yield "license", "Others"

    def summary(self) -> SemanticSpec:
        """The form that is gossiped: the description cut to 280 characters."""
        short = self.description if len(self.description) <= MAX_SUMMARY else self.description[: MAX_SUMMARY - 1] + "…"
        return msgspec.structs.replace(self, description=short)


def told_apart(class_names: Sequence[str]) -> bool:
    """Whether no two classes have one name, and none has characters that steer a terminal or end a line."""
    steering = (unicodedata.category(each) in ("Cc", "Zl", "Zp") for name in class_names for each in name)
    return len(set(class_names)) == len(class_names) and not any(steering)


MAX_TEXT = 400
Alternatives = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=100)], ...], msgspec.Meta(max_length=64)]


class SemanticQuery(msgspec.Struct, frozen=True):
    """What the user asks for; an empty group asks for nothing. Values in a group are alternatives."""

    text: Annotated[str, msgspec.Meta(max_length=MAX_TEXT)] = ""
    data: Alternatives = ()
    task: Alternatives = ()
    library: Alternatives = ()
    scenario: Alternatives = ()
    license: Alternatives = ()

    def tags(self) -> dict[str, tuple[str, ...]]:
        """The groups that are asked for, and the values that will do."""
        groups = {"data": self.data, "task": self.task, "library": self.library, "scenario": self.scenario,
                  "license": self.license}  # fmt: skip
        return {group: values for group, values in groups.items() if values}

    def admits(self, spec: SemanticSpec) -> bool:
        """Whether the tags of ``spec`` pass the filter (text aside)."""
        has = set(spec.tags())
        return all(any((group, value) in has for value in values) for group, values in self.tags().items())

    def score(self, spec: SemanticSpec) -> float:
        """100 for an exact substring in name or description, the fuzzy ratio (<= 99.9) if it is >= 75, else 0."""
        return self.scores([spec])[0]

    def scores(self, specs: Sequence[SemanticSpec]) -> list[float]:
        """The :meth:`score` of each."""
        needle = self.text.strip().lower()
        if not needle:
            return [EXACT] * len(specs)
        fields = [field.lower() for spec in specs for field in (spec.name, spec.description)]
        exact = [needle in field for field in fields]
        ratios = [0.0] * len(fields)
        fuzzy = process.extract_iter(needle, fields, scorer=fuzz.partial_ratio, score_cutoff=FUZZY_THRESHOLD)
        for _, ratio, place in fuzzy:
            ratios[place] = min(float(ratio), ALIKE)
        best = [EXACT if hit else ratio for hit, ratio in zip(exact, ratios, strict=True)]
        return [max(pair) for pair in zip(best[::2], best[1::2], strict=True)]

    def foremost(self, specs: Sequence[SemanticSpec]) -> list[float]:
        """The :meth:`scores` where exact hits are found alone, if there are any, as Beimingwu does; what is only alike
        has 0 then."""
        scores = self.scores(specs)
        return [score if score == EXACT else 0.0 for score in scores] if EXACT in scores else scores

    def matches(self, spec: SemanticSpec) -> bool:
        """Tags pass and the text is found."""
        return self.admits(spec) and self.score(spec) > 0


def _one_of(field: str, value: str, allowed: tuple[str, ...], also: str = "") -> None:
    if value not in allowed:
        nearest = process.extractOne(value, allowed, scorer=fuzz.WRatio, processor=str.lower)[0]
        raise SpecificationError(
            f"{field}: {value[:80]!r} is not in the vocabulary; the nearest is {nearest!r}",
            hint=f"one of {', '.join((*allowed, also) if also else allowed)}",
        )
