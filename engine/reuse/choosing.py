"""Which way of using the members, by cross-validation on the user's labelled rows.

Classifiers are compared by the logarithm of the probability of the true class, which few rows tell more precisely than
the error rate, the figure for people: chosen so, images were predicted with an error of .132, chosen by the error rate
with .141 (100 labels; .165 without any).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from atoll.engine.errors import SpecificationError
from atoll.engine.reuse.combining import check_labelled
from atoll.engine.reuse.losses import folds, losses, surprise
from atoll.engine.reuse.reuser import Doubles, Floats, Reuser, Target, Task

MARGIN = 0.5
UNLIKELY = 0.01  # probability below which one surprise is as good as another


@dataclass(frozen=True)
class Loss:
    """Of held-out rows: error rate or mean squared error, and its standard error over rows."""

    mean: float
    error: float


@dataclass(frozen=True)
class Choice:
    """``method`` names the candidate, ``reuser`` is it, fitted on all labelled rows."""

    method: str
    reuser: Reuser
    validation: dict[str, Loss]


def choose(candidates: Mapping[str, Reuser], units: Floats, outputs: Doubles, target: Target, task: Task) -> Choice:
    """The candidate that predicts labelled rows best which it was not fitted to.

    ``units`` (n, d), ``outputs`` (n, k, c), ``target`` (n,) or (n, c). Label-free candidates come fitted to the user's
    rows, and stay as they are. The first of them is the default: another is taken only where it is better by more than
    half the standard error of the difference, row by row. One labelled row is for label-free candidates only.
    Losses are finite, also of who answers no labelled row. The least of several is a little too good to be true.
    """
    outputs, labels = check_labelled(units, outputs, target, task)
    candidates = {name: each for name, each in candidates.items() if len(labels) > 1 or not each.labelled}
    if not candidates:
        raise SpecificationError("there is no method to choose from", hint="offer a label-free one, or label more rows")
    held = {name: _held_out(each, units, outputs, labels, task) for name, each in candidates.items()}
    told = {name: losses(each, labels, task) for name, each in held.items()}
    classes = task == "classification"
    method = _best(candidates, {n: surprise(each, labels, UNLIKELY) for n, each in held.items()} if classes else told)
    chosen = candidates[method]
    fitted = copy.copy(chosen).fit(units, outputs, labels) if chosen.labelled else chosen
    return Choice(method, fitted, {name: Loss(float(row.mean()), _error(row)) for name, row in told.items()})


def _best(candidates: Mapping[str, Reuser], costs: Mapping[str, Doubles]) -> str:
    default = next((name for name, each in candidates.items() if not each.labelled), next(iter(candidates)))
    for name in sorted(costs, key=lambda name: float(costs[name].mean())):
        gain = costs[default] - costs[name]
        if gain.mean() > MARGIN * _error(gain):
            return name
    return default


def _held_out(reuser: Reuser, units: Floats, outputs: Doubles, labels: Doubles, task: Task) -> Doubles:
    """The answers (n, c) to the labelled rows, each by a reuser fitted to others."""
    if not reuser.labelled:
        return reuser.combine(units, reuser.shares(units), outputs)
    found = np.full((len(labels), outputs.shape[2]), np.nan)
    for fitted, held in folds(len(labels)):
        each = copy.copy(reuser).fit(units[fitted], outputs[fitted], labels[fitted])
        found[held] = each.combine(units[held], each.shares(units[held]), outputs[held])
    return found


def _error(rows: Doubles) -> float:
    return float(rows.std() / np.sqrt(len(rows)))
