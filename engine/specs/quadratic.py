"""Small convex quadratic programs over weights, solved by daqp (a dual active-set solver)."""

from __future__ import annotations

from ctypes import c_int

import daqp
import numpy as np
from atoll.engine.errors import SpecificationError
from numpy.typing import NDArray

RIDGE = 1e-10  # Gram matrices of near-duplicates are singular to working precision


def minimise(gram: NDArray[np.float64], linear: NDArray[np.float64], *, total_is_one: bool) -> NDArray[np.float64]:
    """argmin w'Gw - 2c'w over w >= 0 and sum w = 1 (``total_is_one``) or sum w <= 1; float64 (k,)."""
    k = len(linear)
    hessian = np.ascontiguousarray(2.0 * (gram + RIDGE * np.eye(k)))
    upper, lower = np.ones(k + 1), np.zeros(k + 1)
    if total_is_one:
        lower[k] = 1.0
    weights, _, status, _ = daqp.solve(
        hessian, -2.0 * linear, np.ones((1, k)), upper, lower, np.zeros(k + 1, dtype=c_int)
    )
    if status < 1:
        raise SpecificationError(f"the weights could not be solved for (daqp status {status})")
    return np.clip(np.asarray(weights, dtype=np.float64), 0.0, 1.0)
