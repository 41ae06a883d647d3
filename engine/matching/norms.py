"""Squared norms that no honest specification of an island has: nearly nothing, so that it is no farther from anybody
than anything unrelated, or far above the others; and norms that the sketch beside them belies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST_LISTINGS = 20  # of fewer, the median says nothing
BAND = 4.0  # times the island's median, or a quarter of it
AGREES = (0.3, 0.02)  # relative and absolute error of a norm by its sketch: relative 0.10 was the largest seen


def odd_norms(
    claimed: NDArray[np.float64], sketched: NDArray[np.float64], biases: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which (n,) are odd. ``sketched`` (n,) are the squared norms of the sketches as they are listed, ``biases`` (n,)
    what their noise (privacy) adds to them: more noise than four times a usual norm leaves nothing to compare."""
    own = sketched - biases
    relative, absolute = AGREES
    belied = np.asarray((biases == 0.0) & (np.abs(claimed - sketched) > relative * claimed + absolute))
    if len(claimed) < LEAST_LISTINGS:
        return belied
    median = float(np.median(own))
    return np.asarray(belied | (sketched > BAND * median) | (own < median / BAND))
