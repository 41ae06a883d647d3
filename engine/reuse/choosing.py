"""Which way of using the members, by cross-validation on the user's labelled rows."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from atoll.engine.errors import SpecificationError
from atoll.engine.reuse.combining import check_labelled
from atoll.engine.reuse.losses import folds, losses
from atoll.engine.reuse.reuser import Doubles, Floats, Reuser, Target, Task


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
    """The candidate with the least loss on labelled rows that it was not fitted to.

    ``units`` (n, d), ``outputs`` (n, k, c), ``target`` (n,) or (n, c). Label-free candidates come fitted to the user's
    rows, and stay as they are. One that learns from labels is taken only where it beats the best label-free one by more
    than the standard error of the difference, row by row: what is no better than noise is not worth a dependence on it.
    Candidates that answer none of the labelled rows cannot be judged: they are no choice, unless there is no other, and
    not in ``validation``, whose losses are finite. The least loss of several is a little too good to be true.
    """
    outputs, labels = check_labelled(units, outputs, target, task)
    if not candidates:
        raise SpecificationError("there is no method to choose from")
    tried = {name: _held_out(each, units, outputs, labels, task) for name, each in candidates.items()}
    rows = {name: row for name, row in tried.items() if np.isfinite(row).all()} or tried
    free = [name for name in rows if not candidates[name].labelled]
    method = min(free or rows, key=lambda name: float(rows[name].mean()))
    for name in sorted(set(rows) - set(free), key=lambda name: float(rows[name].mean())):
        gain = rows[method] - rows[name]
        if gain.mean() > _error(gain):
            method = name
            break
    chosen = candidates[method]
    fitted = copy.copy(chosen).fit(units, outputs, labels) if chosen.labelled else chosen
    return Choice(
        method,
        fitted,
        {name: Loss(float(row.mean()), _error(row)) for name, row in rows.items() if np.isfinite(row).all()},
    )


def _held_out(reuser: Reuser, units: Floats, outputs: Doubles, labels: Doubles, task: Task) -> Doubles:
    """The loss of each labelled row (n,), by a reuser fitted to the others."""
    if not reuser.labelled:
        return losses(reuser.combine(units, reuser.shares(units), outputs), labels, task)
    found = np.zeros(len(labels))
    for fitted, held in folds(len(labels)):
        each = copy.copy(reuser).fit(units[fitted], outputs[fitted], labels[fitted])
        found[held] = losses(each.combine(units[held], each.shares(units[held]), outputs[held]), labels[held], task)
    return found


def _error(rows: Doubles) -> float:
    return float(rows.std() / np.sqrt(len(rows)))
