"""Hubs: what lies in the middle of everything is among the nearest of everybody, and useful to nobody.

The barycentre of all sketches is in the top 25 of a third to all of 1000 listings, honest ones in those of one in eight
at most: up to seven times what is usual (Radovanovic et al. 2010; algorithms: poisoned specifications). Many
barycentres do not hide each other: who is among the nearest is counted against what lies away from the middle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from atoll.engine.matching.pairs import BATCH, squares
from numpy.typing import NDArray

NEAREST, PART = 25, 20  # a listing's nearest: 25, or a twentieth of a smaller catalogue
LEAST_LISTINGS = 100  # of fewer, everybody is near everybody
PROBES = 1024  # listings whose nearest are looked at
USUAL, LEAST, MOST = 10.0, 0.2, 0.5  # a hub is near that many times what is usual, a fifth to a half of the listings
MIDDLE = 0.5  # nearer to the mean than half the median: in the middle

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Neighbourhoods:
    """``probes`` (p, width) of an island's sketches and how far away their nearest are, squared: ``reach`` (p,). A
    listing is among the nearest of the ``usual`` share, on average."""

    probes: Floats
    reach: Floats
    usual: float = 1.0

    def shares(self, rows: Floats, biases: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of sketches (n, width): among the nearest of which share of the probes each is (n,), what their noise adds
        to distances taken off."""
        found = np.zeros(len(rows))
        if len(self.probes):
            for start in range(0, len(rows), BATCH):
                part = slice(start, start + BATCH)
                found[part] = (squares(rows[part], self.probes) - biases[part, None] <= self.reach).mean(axis=1)
        return found

    def hubs(self, rows: Floats, biases: NDArray[np.float64]) -> NDArray[np.bool_]:
        return self.shares(rows, biases) >= min(MOST, max(LEAST, USUAL * self.usual))


def neighbourhoods(rows: Floats, seed: int) -> Neighbourhoods:
    """Of all sketches of an island (n, width); which are the probes, where there are more, follows from the ``seed``,
    which nobody should know: none of fewer than 100."""
    count = len(rows)
    if count < LEAST_LISTINGS:
        return Neighbourhoods(rows[:0], np.zeros(0, np.float32))
    chosen = np.arange(count)
    if count > PROBES:
        chosen = np.sort(np.random.default_rng(seed).choice(count, PROBES, replace=False))
    probes = np.ascontiguousarray(rows[chosen])
    from_mean = np.square(rows - rows.mean(axis=0, dtype=np.float64).astype(np.float32)).sum(axis=1)
    aside = np.ascontiguousarray(rows[from_mean >= MIDDLE * np.median(from_mean)])
    nearest = max(1, min(NEAREST, count // PART))
    reach = np.empty(len(probes), np.float32)
    for start in range(0, len(probes), BATCH):
        found = squares(probes[start : start + BATCH], aside)
        place = min(nearest, found.shape[1] - 1)  # its own distance to itself comes first
        reach[start : start + BATCH] = np.partition(found, place, axis=1)[:, place]
    return Neighbourhoods(probes, reach, nearest / count)
