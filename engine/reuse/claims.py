"""Which member a row is of, by kernel ridge regression on the members' own points: regularised least squares.

Members are told apart better than by their densities, since what they have in common tells nothing: .1507 in place of
.1650 (images), .2010 of .2023 (flights; both on seeds that nothing is reported of).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from atoll.engine.reuse.densities import CELLS
from atoll.engine.reuse.reuser import Doubles, Floats
from atoll.engine.specs.kernels import gaussian
from atoll.engine.specs.rkme import Rkme
from scipy.linalg import solve

RIDGE = 1e-3  # 3e-4 does as well


class Claims:
    """Of disclosed RKMEs of one kernel. A point counts t_j = w_i b_j, with the weight of its member in the mixture:
    f = argmin sum_j t_j |f(z_j) - e_i|^2 + lambda |f|^2 = k(x, Z) T (K T + lambda I)^-1 Y."""

    def __init__(self, members: Sequence[Rkme], weights: Doubles) -> None:
        self._points = np.concatenate([member.points for member in members])
        self._gamma = members[0].gamma
        self._owners = np.repeat(np.arange(len(members)), [len(member.points) for member in members])
        self._counts = np.concatenate([member.weights for member in members]) * weights[self._owners]

    def of(self, units: Floats) -> Doubles:
        """(n, k): how far each member claims each row; not negative, and all 0 far from every point."""
        found = np.empty((len(units), self._solved.shape[1]))
        step = max(1, CELLS // len(self._points))
        for start in range(0, len(units), step):
            rows = slice(start, start + step)
            found[rows] = gaussian(units[rows], self._points, self._gamma) @ self._solved
        return np.maximum(found, 0.0)

    @cached_property
    def _solved(self) -> Doubles:
        """Coefficients (m of all members, k), by the symmetric form of the system."""
        roots = np.sqrt(self._counts)[:, None]
        system = gaussian(self._points, self._points, self._gamma) * (roots * roots.T)
        system[np.diag_indices_from(system)] += RIDGE
        members = np.eye(self._owners[-1] + 1)[self._owners]
        return np.asarray(roots * solve(system, roots * members, assume_a="pos", overwrite_a=True))
