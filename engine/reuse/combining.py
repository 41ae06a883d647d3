"""Weighted means of what the members answered, without those who did not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from atoll.engine.errors import DimensionMismatch, NotFinite, SpecificationError
from atoll.engine.reuse.reuser import Doubles, Floats, Target, Task
from numpy.typing import NDArray


def answered(outputs: Doubles) -> NDArray[np.bool_]:
    """(n, k): where members have answered with finite numbers."""
    return np.asarray(np.isfinite(outputs).all(axis=2))


def combined(shares: Doubles, outputs: Doubles) -> Doubles:
    """Mean (n, c) of ``outputs`` (n, k, c) by the ``shares`` (n, k) of those who answered; NaN where they have none."""
    heard = answered(outputs)
    said = np.where(heard, shares, 0.0)
    totals = said.sum(axis=1, keepdims=True)
    values = np.einsum("nk,nkc->nc", said, np.where(heard[:, :, None], outputs, 0.0))
    return np.asarray(values / np.where(totals > 0, totals, np.nan))


def reassigned(shares: Doubles, outputs: Doubles, say: Callable[[NDArray[np.bool_]], Doubles]) -> Doubles:
    """The shares, where none of a row's members has answered but others have: theirs. ``say`` gives the uncut shares
    (rows, k) of such rows."""
    heard = answered(outputs)
    lost = np.asarray((shares > 0).any(axis=1) & ~((shares > 0) & heard).any(axis=1) & heard.any(axis=1))
    if not np.any(lost):
        return shares
    shares = shares.copy()
    shares[lost] = say(lost) + 1e-12  # somebody answers, however far the row is from what they know
    return shares


def everywhere(units: Floats, row: Doubles) -> Doubles:
    """The same shares (k,) for every row: (n, k)."""
    return np.broadcast_to(row, (len(units), len(row)))


def prior(weights: object, count: int) -> Doubles:
    """Weights (count,) that sum to 1: those of a mixture, or equal ones for None."""
    if weights is None:
        return np.full(count, 1.0 / max(count, 1))
    given = np.asarray(weights, np.float64)
    if given.shape != (count,) or not np.isfinite(given).all() or (given < 0).any() or given.sum() <= 0:
        raise SpecificationError(f"weights {given.tolist()}: expected {count}, not negative and not all 0")
    return np.asarray(given / given.sum())


def check_labelled(
    units: Floats, outputs: Doubles | None, target: Target | None, task: Task
) -> tuple[Doubles, Doubles]:
    """The labelled rows' outputs (n, k, c) and target, float64: class places (n,), or values (n, c).

    DimensionMismatch where they do not agree, NotFinite for values that are none, SpecificationError without labels.
    """
    if outputs is None or target is None:
        raise SpecificationError("this method learns from labelled rows", hint="pass their outputs and target")
    labels = np.asarray(target, np.float64)
    if outputs.ndim != 3 or not len(units) == len(outputs) == len(labels) > 0:
        raise DimensionMismatch(f"{len(units)} rows, outputs {outputs.shape}, {len(labels)} labels: expected as many")
    if not np.isfinite(labels).all():
        raise NotFinite("the labels hold NaN or infinite values", hint="leave those rows out")
    classes = outputs.shape[2]
    if task == "classification":
        if labels.ndim != 1 or labels.min() < 0 or labels.max() >= classes:
            raise DimensionMismatch(f"labels are places (n,) of {classes} classes, 0 to {classes - 1}")
        return outputs, labels
    if labels.size != len(labels) * classes:
        raise DimensionMismatch(f"labels {labels.shape} of {classes} targets: expected (n, {classes})")
    return outputs, labels.reshape(len(labels), classes)
