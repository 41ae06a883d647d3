"""What every way of using members together promises: who is asked about a row, and what becomes of the answers.

A *member* is a learnware that takes part, its *share* its say in a row. ``units`` are rows (n, d) in island units,
``outputs`` (n, k, c) what k members answered: class probabilities over common class names, or target values; NaN where
a member was not asked or has failed.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Method = Literal["routing", "selector", "averaging", "vote", "single", "pruning", "augmentation"]
Form = Literal["rkme", "sketch"]
Task = Literal["classification", "regression"]
Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Target = NDArray[np.integer] | NDArray[np.floating]


class Reuser(Protocol):
    """Fitted once, then asked chunk by chunk; nothing is kept of the rows that are combined."""

    labelled: ClassVar[bool]

    def fit(self, units: Floats, outputs: Doubles | None = None, target: Target | None = None) -> Self:
        """Where ``labelled``, ``outputs`` and ``target`` of the labelled rows are needed: class places (n,), or values
        (n, c). Else rows of the user are, with or without labels; all of them, or a sample."""
        ...

    def shares(self, units: Floats) -> Doubles:
        """(n, k), each row summing to 1: a row travels to a member only where its share is above 0."""
        ...

    def combine(self, units: Floats, shares: Doubles, outputs: Doubles) -> Doubles:
        """(n, c). Members without an answer are left out, the shares of the others renormalised; rows that nobody has
        answered are NaN."""
        ...

    def covered(self, units: Floats) -> NDArray[np.bool_]:
        """(n,), False for rows unlike any that a member was made for; all True where the method cannot tell."""
        ...
