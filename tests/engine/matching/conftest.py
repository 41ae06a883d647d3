"""Many small RKMEs by seed: blends of a few clusters, so that some are near each other and most are not."""

import numpy as np
import pytest
from atoll.engine.islands import Island
from atoll.engine.specs import Rkme


@pytest.fixture(scope="session")
def plane():
    """An island of three features."""
    return Island.mint(np.random.default_rng(0).normal(size=(100, 3)))


@pytest.fixture(scope="session")
def draw_rkmes(plane):
    """``draw_rkmes(seed, count)``: {id: RKME} with 1 to 12 points each; the ids are not in the order of drawing."""

    def draw(seed, count, points=12):
        generator = np.random.default_rng(seed)
        centres = np.random.default_rng(1).normal(size=(40, 3))
        names = generator.permutation(count)
        drawn = {}
        for name in names:
            m = int(generator.integers(1, points + 1))
            rows = centres[generator.choice(generator.integers(0, 40, 3), m)] + 0.2 * generator.normal(size=(m, 3))
            weights = generator.dirichlet(np.ones(m)).astype(np.float32)
            drawn[f"l{name:05d}"] = Rkme(rows.astype(np.float32), weights / weights.sum(), plane.gamma, 50)
        return drawn

    return draw
