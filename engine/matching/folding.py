"""Near-identical specifications of several owners are one: the eldest is shown, the others are said to hold it too.

Nearer than two independent samples of one distribution can be, one is a copy of the other. E[MMD^2] of two samples is
(1 - <P, P>) (1/n + 1/n') (Gretton et al. 2012, section 2); the eldest's n is what it claims, so the radius is capped.
Copies are compared with the eldest only: no chain of small steps leads from one specification to another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from atoll.engine.matching.pairs import BATCH, squares
from atoll.engine.specs.sketch import Sketch
from numpy.typing import NDArray

LEAST, MOST = 1e-4, 5e-4  # squared radius; the rounding of two sketches alone is 2e-5
SHARE = 0.12  # of (1 - <P, P>) / n; 1 in 200 fits of one distribution in 3 dimensions are that near, none in 5 or more
SAME = 0.02  # squared radius within which two that claim to be one learnware are: an RKME and its stand-in
NOISE = 0.5  # share of what its own noise adds, within which a noised sketch would not be if it were one
PREFIX = 64  # numbers of a sketch that tell most apart

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Specifications:
    """Of one island, eldest first: sketches ``rows`` float32 (n, width), squared ``norms``, ``counts`` of rows, what
    noise adds (``biases``); ``owners`` and ``learnwares`` as numbers; all (n,)."""

    rows: NDArray[np.float32]
    norms: NDArray[np.float64]
    counts: NDArray[np.float64]
    biases: NDArray[np.float64]
    owners: Places
    learnwares: Places


def faces(given: Specifications) -> Places:
    """For each, the place of the one that it is a copy of, or its own (n,).

    What an owner lists is no copy of anything else of its own: it may well have several models of the same data.
    """
    radii = np.clip(SHARE * (1.0 - given.norms) / given.counts, LEAST, MOST)
    face = np.arange(len(given.rows))
    shown = face[:0]
    for start in range(0, len(face), BATCH):
        block = face[start : start + BATCH].copy()
        before, within = (_copies(given, radii, block, elders) for elders in (shown, block))
        for number in np.flatnonzero(before.any(axis=1) | within.any(axis=1)).tolist():
            elders = shown[before[number]]
            if not len(elders):
                elders = block[:number][within[number, :number]]
                elders = elders[face[elders] == elders]
            if len(elders):
                face[block[number]] = elders[0]
        shown = np.concatenate([shown, block[face[block] == block]])
    return face


def unchanged(old: Sketch, new: Sketch) -> bool:
    """Whether a sketch is the old one, but for rounding."""
    if (old.scale, old.sigma, len(old.values)) != (new.scale, new.sigma, len(new.values)):
        return False
    if new.sigma:
        return bool((old.values == new.values).all())
    return bool(np.square(old.floats() - new.floats()).sum() <= LEAST)


def _copies(given: Specifications, radii: NDArray[np.float64], block: Places, elders: Places) -> NDArray[np.bool_]:
    """(b, e): whether each of a ``block`` (b,) is a copy of each of the ``elders`` (e,)."""
    found = np.zeros((len(block), len(elders)), np.bool_)
    same = given.learnwares[block][:, None] == given.learnwares[elders]
    most = np.float32(max(MOST, NOISE * float(given.biases[block].max(initial=0.0))))
    near = same | (squares(given.rows[block, :PREFIX], given.rows[elders, :PREFIX]) <= most)
    found_in, found_at = near.any(axis=1), near.any(axis=0)
    pairs = np.ix_(found_in, found_at)
    block, elders, same = block[found_in], elders[found_at], same[pairs]
    other = given.owners[block][:, None] != given.owners[elders]
    within = np.maximum(radii[elders], NOISE * given.biases[block][:, None])
    within = np.where(same, np.maximum(within, SAME), np.where(other, within, -1.0)).astype(np.float32)
    found[pairs] = squares(given.rows[block], given.rows[elders]) <= within
    return found
