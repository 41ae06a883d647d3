"""Which member a row is of, by kernel ridge regression: regularised least squares on points of whom it is known.

Where RKMEs are disclosed, these are the members' own points: members are told apart better than by their densities,
since what they have in common tells nothing. Where only sketches are known, they are rows of the user, of which the
density ratios say something, and the kernel takes the noise of the sketches' few frequencies out of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from atoll.engine.reuse.densities import CELLS
from atoll.engine.reuse.reuser import Doubles, Floats
from atoll.engine.specs.kernels import gaussian
from atoll.engine.specs.rkme import Rkme
from scipy.linalg import solve

RIDGE = 1e-3  # 3e-4 does as well


class Claims:
    """f = argmin sum_j t_j |f(z_j) - y_j|^2 + lambda |f|^2 = k(x, Z) T (K T + lambda I)^-1 Y.

    ``points`` (m, d) in island units, ``counts`` (m,) what each is worth, 1 in all; ``said`` (m, k) how far each is
    of each member.
    """

    def __init__(self, points: Floats, counts: Doubles, said: Doubles, gamma: float) -> None:
        self._points, self._gamma = np.asarray(points, np.float32), gamma
        roots = np.sqrt(counts)[:, None]
        system = gaussian(self._points, self._points, gamma) * (roots * roots.T)
        system[np.diag_indices_from(system)] += RIDGE
        self._solved = np.asarray(roots * solve(system, roots * said, assume_a="pos", overwrite_a=True))

    @classmethod
    def of_members(cls, members: Sequence[Rkme], weights: Doubles) -> Self:
        """From disclosed RKMEs of one kernel: a point counts w_i b_j, with the weight of its member in the mixture."""
        owners = np.repeat(np.arange(len(members)), [len(member.points) for member in members])
        counts = np.concatenate([member.weights for member in members]) * weights[owners]
        points = np.concatenate([member.points for member in members])
        return cls(points, counts, np.eye(len(members))[owners], members[0].gamma)

    def of(self, units: Floats) -> Doubles:
        """(n, k): how far each member claims each row; not negative, and all 0 far from every point."""
        found = np.empty((len(units), self._solved.shape[1]))
        step = max(1, CELLS // len(self._points))
        for start in range(0, len(units), step):
            rows = slice(start, start + step)
            found[rows] = gaussian(units[rows], self._points, self._gamma) @ self._solved
        return np.maximum(found, 0.0)
