"""What a loss measured on labelled rows is worth: in which bounds the true one lies, beside what an answer that looks
at nothing would lose, and when it is no measure at all. A value is shown as people think of it: an error rate, or how
far off a value typically is (root mean squared error)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from atoll.engine.reuse.reuser import Task
from atoll.node.language import gettext
from atoll.node.reuse import words
from numpy.typing import NDArray

SURE = 1.96  # standard errors to either side that hold 95 of 100
LEAST = 20  # labelled rows below which nothing is measured


class Measured(NamedTuple):
    """``value`` with the ends of its 95% interval: error rates, or root mean squared errors."""

    value: float
    low: float
    high: float


def measured(loss: tuple[float, float], rows: int, task: Task) -> Measured:
    """Of a mean loss over ``rows`` labelled rows and its standard error. An error rate gets the interval of Wilson
    (JASA 22, 1927), which is not empty where no row was wrong."""
    mean, error = loss
    if task == "regression":
        low, high = max(0.0, mean - SURE * error), mean + SURE * error
        return Measured(math.sqrt(mean), math.sqrt(low), math.sqrt(high))
    count = max(rows, 1)
    share = SURE**2 / count
    centre = (mean + share / 2) / (1 + share)
    half = SURE * math.sqrt(mean * (1 - mean) / count + share / (4 * count)) / (1 + share)
    return Measured(mean, min(mean, max(0.0, centre - half)), max(mean, min(1.0, centre + half)))


def baseline(target: NDArray[np.int64] | NDArray[np.float64], task: Task) -> float:
    """The loss of always saying the commonest class, or the mean, of the labels ``target`` (n,)."""
    if task == "classification":
        return 1.0 - float(np.unique(target, return_counts=True)[1].max()) / len(target)
    return float(np.var(target))


def interval(found: Measured, task: Task) -> str:
    """The bounds in words: 3.1% to 12.7%."""
    return gettext("{low} to {high}").format(low=words.loss(found.low, task), high=words.loss(found.high, task))


def expected(loss: tuple[float, float], rows: int, task: Task, nothing: float) -> str:
    """What was measured, as a sentence or two; ``nothing`` is the loss of the baseline."""
    found = measured(loss, rows, task)
    told = gettext("Cross-validated on {rows}: {name} {value} (95% interval {interval}); {beside}.").format(
        rows=words.labelled_count(rows), name=gettext(words.LOSSES[task]), value=words.loss(found.value, task),
        interval=interval(found, task), beside=_beside(found, measured((nothing, 0.0), rows, task), task),
    )  # fmt: skip
    if rows >= LEAST:
        return told
    few = gettext("So few rows are no measure: label {least} at least, better a hundred.").format(least=LEAST)
    return f"{told} {few}"


def _beside(found: Measured, nothing: Measured, task: Task) -> str:
    value, least = words.loss(found.value, task), words.loss(nothing.value, task)
    if task == "classification":
        return gettext("always naming the commonest class errs in {least}").format(least=least)
    off = gettext("predictions are typically off by about {value}, always saying the mean of your labels by {least}")
    return off.format(value=value, least=least)
