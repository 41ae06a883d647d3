"""The steps to a published learnware, where a draft stands, and at which of them a failed check is mended."""

from __future__ import annotations

from typing import NamedTuple

from atoll.engine.packages.acceptance import AcceptanceReport, Step
from atoll.node.acceptance.submissions import SubmissionRow
from atoll.node.language import gettext, later
from atoll.node.web.publish.drafts import Draft

MODEL, WORDS, SPECIFICATION, CHECKS, FEDERATION = "model", "words", "specification", "checks", "federation"
NAMES = {
    MODEL: later("Model and rows"),
    WORDS: later("Words"),
    SPECIFICATION: later("Specification"),
    CHECKS: later("Checks"),
    FEDERATION: later("Federation and policy"),
}
PACKAGE = later("Package")
WAYS = {
    "model": later("A model and rows"),
    "package": later("A package"),
    "words": later("Other words"),
}
CHECKED = {
    "package": later("Package"),
    "semantic specification": later("Words and tags"),
    "files": later("Files of the package"),
    "statistical specification": later("Statistical specification"),
    "environment": later("Environment"),
    "model runs": later("The model runs"),
    "model and specification": later("Model and specification belong together"),
    "duplicates": later("Nothing alike is here"),
    "quality": later("Quality on labelled rows"),
    "revision": later("Revision"),
}
OUTCOMES = {"passed": later("passed"), "failed": later("failed"), "advisory": later("worth a look")}
MENDED = {"semantic specification": WORDS, "statistical specification": SPECIFICATION, "quality": CHECKS}
STATES = {
    "waiting": later("waiting for its turn"),
    "running": later("being checked"),
    "accepted": later("accepted"),
    "refused": later("refused"),
}


class Place(NamedTuple):
    """A step as the page shows it: ``path`` is empty where it cannot be gone to yet."""

    name: str
    path: str
    done: bool
    here: bool


def stands(draft: Draft, row: SubmissionRow | None) -> str:
    """The step at which one goes on."""
    if row is not None:
        return FEDERATION if row.state == "accepted" else CHECKS
    if not draft.ready:
        return MODEL
    return WORDS if draft.words is None else SPECIFICATION


def places(draft: Draft, row: SubmissionRow | None, here: str) -> list[Place]:
    """All steps of a draft, seen from one of them."""
    accepted = row is not None and row.state == "accepted"
    done = {
        MODEL: draft.ready, WORDS: draft.words is not None, SPECIFICATION: row is not None, CHECKS: accepted,
        FEDERATION: False,
    }  # fmt: skip
    open_ = {
        MODEL: not accepted and draft.way != "words", WORDS: not accepted and draft.ready,
        SPECIFICATION: draft.ready and draft.words is not None, CHECKS: draft.ready and draft.words is not None,
        FEDERATION: accepted,
    }  # fmt: skip
    return [
        Place(_name(draft, step), f"/publish/{draft.id}/{step}" if open_[step] else "", done[step], step == here)
        for step in NAMES
        if not (step == MODEL and draft.way == "words")
    ]


def failed(report: AcceptanceReport | None) -> Step | None:
    """The check that has refused it."""
    return next((step for step in report.steps if step.outcome == "failed"), None) if report is not None else None


def mended(step: Step, draft: Draft) -> str:
    """At which step of the draft."""
    where = MENDED.get(step.name, MODEL)
    if where == SPECIFICATION and draft.way == "model":
        return MODEL  # it is fitted with the rows
    return WORDS if where == MODEL and draft.way == "words" else where


def _name(draft: Draft, step: str) -> str:
    message = PACKAGE if step == MODEL and draft.way == "package" else NAMES[step]
    return gettext(message)
