"""How well rows lie where a learnware is good: <batch, spec> / <spec, spec>, about 1 for its own data, 0 far from it.

Measured on held-out rows of digits, wine, breast cancer and diabetes, in batches of ten: 0.40 to 1.25 for a learnware's
own data, 0.00 to 0.36 for rows drawn evenly from the features' ranges or from a Gaussian twice as wide. A single row
says little: one in a hundred of the learnware's own lies at 0.01 to 0.3.
"""

from __future__ import annotations

import numpy as np
from atoll.engine.islands import Island
from atoll.engine.specs.kernels import gaussian
from atoll.engine.specs.noised import NoisedSketch, Specification
from atoll.engine.specs.sketch import features
from numpy.typing import NDArray

LEAST, FULL = 0.25, 10  # what a batch of ``FULL`` rows needs
SAMPLE = 2000  # rows looked at of a larger batch, drawn so that nobody can tell which


def support(
    units: NDArray[np.floating], specification: Specification, island: Island, rng: np.random.Generator
) -> float:
    """Of rows (n, d) in island units, n >= 1; ``rng`` is seeded with what the sender cannot know. Of a noised sketch it
    is an estimate; 1.0 where its noise drowns it."""
    rows = units if len(units) <= SAMPLE else units[rng.choice(len(units), SAMPLE, replace=False)]
    if isinstance(specification, NoisedSketch):
        sketch = specification.sketch
        norm2 = sketch.norm2 - sketch.bias
        inner = features(rows, island).mean(axis=0) @ sketch.floats().astype(np.float64)
        return float(inner / norm2) if norm2 > sketch.bias else 1.0
    density = gaussian(rows, specification.points, specification.gamma) @ specification.weights.astype(np.float64)
    return float(density.mean() / specification.norm2)


def needed(rows: int) -> float:
    """The support below which a batch of ``rows`` is not the learnware's business; less of fewer rows, since a few may
    well lie in the tails."""
    return LEAST * min(1.0, rows / FULL) ** 2
