"""One member alone: the nearest, or the heaviest of a mixture."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from atoll.engine.errors import SpecificationError
from atoll.engine.reuse.combining import combined, everywhere
from atoll.engine.reuse.reuser import Doubles, Floats, Target
from numpy.typing import NDArray


class Single:
    """Every row goes to member ``place`` of ``count``."""

    labelled: ClassVar[bool] = False

    def __init__(self, place: int, count: int) -> None:
        if not 0 <= place < count:
            raise SpecificationError(f"member {place} of {count}: expected 0 to {count - 1}")
        self._row = np.eye(count)[place]

    def fit(self, units: Floats, outputs: Doubles | None = None, target: Target | None = None) -> Self:
        return self

    def shares(self, units: Floats) -> Doubles:
        return everywhere(units, self._row)

    def combine(self, units: Floats, shares: Doubles, outputs: Doubles) -> Doubles:
        return combined(shares, outputs)

    def covered(self, units: Floats) -> NDArray[np.bool_]:
        return np.ones(len(units), bool)
