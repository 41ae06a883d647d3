"""Words for what a reuse says in codes: methods, forms, places. For the report, the command line and the page, in the
language in force, which on the command line is English."""

from __future__ import annotations

from typing import NamedTuple

from atoll.node.language import gettext, later, ngettext


class MethodWords(NamedTuple):
    """``name`` fits into a sentence; ``does`` is one, and says how outputs become an answer."""

    name: str
    does: str


METHODS: dict[str, MethodWords] = {
    "routing": MethodWords(
        later("soft routing"),
        later("Each row weighs the models by how likely it is to come from the data that each was made on."),
    ),
    "selector": MethodWords(
        later("job selector"), later("Each row goes to the one model whose data it is most like.")
    ),
    "averaging": MethodWords(
        later("weighted average"),
        later("Every model has the same say in each row: its weight in the mixture that the search found."),
    ),
    "vote": MethodWords(
        later("weighted vote"),
        later("Every model names one class for each row; the one with most weight is taken."),
    ),
    "single": MethodWords(
        later("nearest model alone"), later("One model answers every row: the one nearest to all of your data.")
    ),
    "pruning": MethodWords(
        later("ensemble pruning"), later("Only the models that do best together on the labelled rows answer.")
    ),
    "augmentation": MethodWords(
        later("feature augmentation"),
        later("A small model, fitted to the labelled rows, reads the models' answers beside the columns of the rows."),
    ),
    "auto": MethodWords(
        later("the best on the labelled rows"),
        later("Validation on the labelled rows chooses how models combine."),
    ),
}  # fmt: skip
FORMS: dict[str, str] = {
    "rkme": later("reduced sets that their owners disclose, or stand-ins of them"),
    "sketch": later("the sketches that their owners publish, 512 numbers each"),
}
PLACES: dict[str, str] = {"local": later("the node"), "remote": later("its owner")}
LOSSES: dict[str, str] = {"classification": later("error rate"), "regression": later("root mean squared error")}
EXPECTED: dict[str, str] = {
    "classification": later("Expected error rate"),
    "regression": later("Expected root mean squared error"),
}


def method(code: str) -> str:
    """What a method is called; one that this version does not know, by its code."""
    return gettext(METHODS[code].name) if code in METHODS else code


def does(code: str) -> str:
    """What a method does, in a sentence; nothing of one that this version does not know."""
    return gettext(METHODS[code].does) if code in METHODS else ""


def form(code: str) -> str:
    """By what rows are routed."""
    return gettext(FORMS[code])


def place(code: str) -> str:
    """At which a model runs."""
    return gettext(PLACES[code])


def count(number: int) -> str:
    """A number as people read it: 61 000."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def counted(number: int, one: str, many: str = "") -> str:
    """With its English noun, for the command line: 1 row, 61 000 rows."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def row_count(number: int) -> str:
    """1 row, 61 000 rows."""
    return ngettext("{count} row", "{count} rows", number).format(count=count(number))


def labelled_count(number: int) -> str:
    """1 labelled row, 100 labelled rows."""
    return ngettext("{count} labelled row", "{count} labelled rows", number).format(count=count(number))


def rows(number: int, labelled: int) -> str:
    """So many rows, of which some are labelled ones: 433 of your rows and 100 labelled rows."""
    if not labelled:
        return row_count(number)
    few = labelled_count(labelled)
    if number <= labelled:
        return few
    return gettext("{count} of your rows and {labelled}").format(count=count(number - labelled), labelled=few)


def percent(share: float) -> str:
    """A share, with one decimal wherever it is shown: 31.0%, 4.2%, under 0.1%; 0% and 100% if it is that."""
    if 0 < share < 0.001:
        return gettext("under 0.1%")
    return f"{share:.0%}" if share in (0, 1) else f"{share:.1%}"


def quality(metric: str, value: float) -> str:
    """What an owner has measured: a share of rows that are right, or a figure of another kind."""
    return percent(value) if metric == "accuracy" and 0 <= value <= 1 else f"{value:.3g}"


def seconds(elapsed: float) -> str:
    """A time that something took."""
    return gettext("{seconds} s").format(seconds=f"{elapsed:.1f}") if elapsed >= 0.1 else gettext("under 0.1 s")


def loss(mean: float, task: str) -> str:
    """An error rate, or a root mean squared error."""
    return f"{mean:.1%}" if task == "classification" else f"{mean:.4g}"
