"""Words for what a reuse says in codes: methods, forms, places. For the report, the command line and the page."""

from __future__ import annotations

from typing import NamedTuple


class MethodWords(NamedTuple):
    """``name`` fits into a sentence; ``does`` is one, and says how outputs become an answer."""

    name: str
    does: str


METHODS: dict[str, MethodWords] = {
    "routing": MethodWords(
        "soft routing", "Each row weighs the models by how likely it is to come from the data that each was made on."
    ),
    "selector": MethodWords("job selector", "Each row goes to the one model whose data it is most like."),
    "averaging": MethodWords(
        "weighted average", "Every model has the same say in each row: its weight in the mixture that the search found."
    ),
    "vote": MethodWords(
        "weighted vote", "Every model names one class for each row; the one with most weight is taken."
    ),
    "single": MethodWords("nearest model alone", "One model answers every row: the one nearest to all of your data."),
    "pruning": MethodWords("ensemble pruning", "Only the models that do best together on the labelled rows answer."),
    "augmentation": MethodWords(
        "feature augmentation",
        "A small model, fitted to the labelled rows, reads the models' answers beside the columns of the rows.",
    ),
    "auto": MethodWords("the best on the labelled rows", "Validation on the labelled rows chooses how models combine."),
}
FORMS: dict[str, str] = {
    "rkme": "reduced sets that their owners disclose, or stand-ins of them",
    "sketch": "the sketches that their owners publish, 512 numbers each",
}
PLACES: dict[str, str] = {"local": "the node", "remote": "its owner"}
LOSSES: dict[str, str] = {"classification": "error rate", "regression": "root mean squared error"}


def method(code: str) -> str:
    """What a method is called; one that this version does not know, by its code."""
    return METHODS[code].name if code in METHODS else code


def count(number: int) -> str:
    """A number as people read it: 61 000."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def counted(number: int, one: str, many: str = "") -> str:
    """With its noun: 1 row, 61 000 rows."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def rows(number: int, labelled: int) -> str:
    """So many rows, of which some are labelled ones: 433 of your rows and 100 labelled rows."""
    if not labelled:
        return counted(number, "row")
    few = counted(labelled, "labelled row")
    return f"{count(number - labelled)} of your rows and {few}" if number > labelled else few


def percent(share: float) -> str:
    """A share, with a decimal where it matters: 31%, 4.2%, under 0.1%."""
    if 0 < share < 0.001:
        return "under 0.1%"
    return f"{share:.1%}" if 0 < share < 0.0995 or 0.9 < share < 1 else f"{share:.0%}"


def seconds(elapsed: float) -> str:
    """A time that something took."""
    return f"{elapsed:.1f} s" if elapsed >= 0.1 else "under 0.1 s"


def loss(mean: float, task: str) -> str:
    """An error rate, or a root mean squared error."""
    return f"{mean:.1%}" if task == "classification" else f"{mean:.4g}"
