"""A sketch under differential privacy: the mean feature of the raw rows, with calibrated Gaussian noise.

The analytic Gaussian mechanism (Balle and Wang 2018, theorem 8). Replacing one of n rows moves the mean of unit
vectors by at most 2/n. The noise is published as sigma, so its bias D sigma^2 can be taken off distances.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from atoll.engine.errors import NotFinite, PrivacyRefusal, SpecificationError
from atoll.engine.islands import Island
from atoll.engine.specs.noised import DpParameters, NoisedSketch
from atoll.engine.specs.sketch import BLOCK, Normals, Sketch, features
from numpy.typing import NDArray

DOMAIN = b"atoll/dp-noise/1\0"
SECRET_BYTES = 32
LEAST_ROWS = 100  # below, the noise drowns everything


def analytic_sigma(epsilon: float, delta: float, sensitivity: float) -> float:
    """The least sigma for which the Gaussian mechanism is (epsilon, delta) differentially private."""
    if not (0 < epsilon <= 10 and 0 < delta < 0.01 and sensitivity > 0):
        raise SpecificationError(
            f"epsilon {epsilon:g} and delta {delta:g}: expected 0 < epsilon <= 10 and 0 < delta < 0.01"
        )
    from scipy.optimize import brentq  # a second to load, for whom only a ledger is read it is not needed
    from scipy.stats import norm

    def excess(log_sigma: float) -> float:
        ratio = sensitivity / np.exp(log_sigma)
        first = norm.cdf(ratio / 2 - epsilon / ratio)
        second = np.exp(epsilon + norm.logcdf(-ratio / 2 - epsilon / ratio))
        return float(first - second - delta)

    centre = float(np.log(sensitivity / epsilon))
    return float(np.exp(brentq(excess, centre - 15.0, centre + 15.0, xtol=1e-12))) * (1.0 + 1e-9)


@dataclass(frozen=True)
class Budget:
    """What the owner's ledger grants: ``secret`` (32 random bytes, kept by the owner and used for these rows only) is
    where the noise comes from. The same secret gives the same sketch, so publishing again tells nothing new."""

    epsilon: float
    delta: float
    secret: bytes


def noise(count: int, epsilon: float, delta: float) -> float:
    """sigma of the noise on the mean of ``count`` rows; PrivacyRefusal where they are too few to say anything."""
    if count < LEAST_ROWS:
        raise PrivacyRefusal(f"{count} rows are too few for differential privacy, {LEAST_ROWS} are needed")
    return analytic_sigma(epsilon, delta, 2.0 / count)


def private_sketch(blocks: Iterable[NDArray[np.float32]], island: Island, budget: Budget) -> NoisedSketch:
    """The noised sketch of rows (n, d) in island units, given as blocks. NotFinite on NaN or inf."""
    if len(budget.secret) != SECRET_BYTES:
        raise SpecificationError(f"the secret has {len(budget.secret)} bytes, {SECRET_BYTES} are needed")
    total, count = np.zeros(BLOCK), 0
    for block in blocks:
        if not np.isfinite(block).all():
            raise NotFinite("the rows hold NaN or infinite values", hint="clean them, or impute them")
        total += features(block, island).sum(axis=0)
        count += len(block)
    sigma = noise(count, budget.epsilon, budget.delta)
    noised = total / count + sigma * Normals(DOMAIN + budget.secret).draw(BLOCK)
    scale = float(np.abs(noised).max()) / 127.0
    values = np.clip(np.rint(noised / scale), -127, 127).astype(np.int8)
    norm2 = float(np.clip(noised @ noised - BLOCK * sigma * sigma, 0.0, 1.0))
    dp = DpParameters(float(budget.epsilon), float(budget.delta), sigma)
    return NoisedSketch(Sketch(values, norm2, scale, sigma), dp, count)
