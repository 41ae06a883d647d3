"""Soft routing: each row weighs the members by the posterior that it came from their distribution.

By what the members claim of it (claims): from their RKMEs where these are disclosed, else from the densities p_i(x) ~
w_i r_i(x) of the user's rows by their sketches; all members of one routing are in one form (algorithms: reuse). The
default where there are no labels. On seeds that nothing is reported of, claims in place of densities came to .1507 for
.1650 (images) and .2010 for .2023 (flights) with RKMEs, .1654 for .1690 and .2013 for .2030 with sketches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from atoll.engine.errors import DimensionMismatch, SpecificationError
from atoll.engine.islands import Island
from atoll.engine.reuse.claims import Claims
from atoll.engine.reuse.combining import combined, prior, reassigned
from atoll.engine.reuse.densities import Densities, RkmeDensities, SketchRatios, sampled
from atoll.engine.reuse.reuser import Doubles, Floats, Target
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.sketch import Sketch
from numpy.typing import NDArray

CUT = 0.02  # below this a member's say in a row is not worth the row's journey
LIKE = 0.3  # of the likeness that a member's own rows have on average
FAR = 1e-9  # claims in all; where a member's points are they are about 1
LEARNT = 1024  # of the user's rows, that claims are learnt from where there are sketches
MOSTLY = 0.6  # of a row's posterior, with members that may not answer: of what others know as well it is near 0.5


class Routing:
    """Over members known by their RKMEs, or all by their sketches (which are fitted to rows of the user).

    ``weights`` are those of the mixture. A row is covered where its likeness to some member, <phi(x), P_i>, is at least
    0.3 <P_i, P_i>, which is the mean over that member's own rows. Measured on images and flights: 1.5 to 3 % of the
    rows that members know are not covered, 98 % of noise is not, but only 6 % of the rows of a class of images that no
    member knows: whatever looks like something known is covered. So members that may not answer say more: what is
    likelier of those ``closed`` to a row (n, k) than of the others is not covered.
    """

    labelled: ClassVar[bool] = False

    def __init__(
        self, specifications: Sequence[Rkme] | Sequence[Sketch], weights: Sequence[float] | None, island: Island
    ) -> None:
        self._weights = prior(weights, len(specifications))
        self._densities = _densities(specifications, island)
        self._gamma = island.gamma
        rkmes = [each for each in specifications if isinstance(each, Rkme)]
        self._claims = Claims.of_members(rkmes, self._weights) if rkmes else None

    def fit(self, units: Floats, outputs: Doubles | None = None, target: Target | None = None) -> Self:
        self._densities.fit(units)
        if isinstance(self._densities, SketchRatios):
            learnt = np.asarray(units)[sampled(len(units), LEARNT)]
            counts = np.full(len(learnt), 1.0 / len(learnt))
            self._claims = Claims(learnt, counts, self._by_density(learnt), self._gamma)
        return self

    def posterior(self, units: Floats) -> Doubles:
        """(n, k), uncut. Rows that no member claims, far from all points, are told by density."""
        if self._claims is None:
            raise SpecificationError("the routing by sketches is not fitted", hint="fit it to rows of the user first")
        claims = self._claims.of(units)
        totals = claims.sum(axis=1, keepdims=True)
        far = totals[:, 0] <= FAR
        found = claims / np.where(totals > 0, totals, 1.0)
        if far.any():
            found[far] = self._by_density(np.asarray(units)[far])
        return np.asarray(found)

    def _by_density(self, units: Floats) -> Doubles:
        return _posterior(self._densities.logs(units), self._weights)

    def shares(self, units: Floats) -> Doubles:
        return sparse(self.posterior(units))

    def combine(self, units: Floats, shares: Doubles, outputs: Doubles) -> Doubles:
        shares = reassigned(shares, outputs, lambda lost: self.posterior(np.asarray(units)[lost]))
        return combined(shares, outputs)

    def covered(self, units: Floats, closed: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
        likeness = self._densities.likeness(units)
        if closed is None or not closed.any():
            return np.asarray(likeness.max(axis=1) >= LIKE)
        alike = np.where(closed, -np.inf, likeness).max(axis=1) >= LIKE
        return np.asarray(alike & ((self.posterior(units) * closed).sum(axis=1) <= MOSTLY))


def sparse(posterior: Doubles, cut: float = CUT) -> Doubles:
    """The posterior without the members that hardly matter to a row, renormalised."""
    kept = np.where(posterior >= min(cut, 1.0 / posterior.shape[1]), posterior, 0.0)
    return np.asarray(kept / kept.sum(axis=1, keepdims=True))


def _densities(specifications: Sequence[Rkme] | Sequence[Sketch], island: Island) -> Densities:
    rkmes = [each for each in specifications if isinstance(each, Rkme)]
    sketches = [each for each in specifications if isinstance(each, Sketch)]
    if sketches and not rkmes and len({len(each.values) for each in sketches}) == 1:
        return SketchRatios(sketches, island)
    if sketches or not rkmes or any(not each.comparable(island) for each in rkmes):
        raise DimensionMismatch("routing takes RKMEs of one island, or sketches of one length, and not both")
    return RkmeDensities(rkmes)


def _posterior(logs: Doubles, weights: Doubles) -> Doubles:
    """Rows summing to 1; a row that no member claims falls back on the mixture weights."""
    with np.errstate(divide="ignore"):
        logs = logs + np.log(weights)
    tops = logs.max(axis=1, keepdims=True)
    nobody = np.isneginf(tops)
    scores = np.where(nobody, weights, np.exp(logs - np.where(nobody, 0.0, tops)))
    return np.asarray(scores / scores.sum(axis=1, keepdims=True))
