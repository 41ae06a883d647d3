"""Whether a batch lies where a learnware is good: what a sender cannot fool by where in the batch good rows are."""

import numpy as np
import pytest
from atoll.engine.islands import Island
from atoll.engine.matching.support import SAMPLE, needed, support
from atoll.engine.specs.rkme import Rkme
from atoll.engine.tables import Table

NAMES = tuple(f"x{place}" for place in range(8))
ROWS = 50 * SAMPLE


@pytest.fixture
def good():
    return np.random.default_rng(0).normal(0, 0.1, (500, 8))


@pytest.fixture
def island(good):
    noise = np.random.default_rng(1).uniform(-3, 3, (500, 8))
    return Island.mint(Table(np.vstack([good, noise]), NAMES))


def test_good_rows_at_every_place_that_a_stride_would_look_at_do_not_pass_for_all(good, island):
    points = island.transform(Table(good[:50], NAMES)).astype(np.float32)
    specification = Rkme(points, np.full(50, 0.02, np.float32), island.gamma, 500)
    units = island.transform(Table(np.random.default_rng(2).uniform(-3, 3, (ROWS, 8)), NAMES))
    assert support(units, specification, island, np.random.default_rng()) < needed(ROWS)
    units[:: ROWS // SAMPLE] = points[0]
    assert support(units, specification, island, np.random.default_rng()) < needed(ROWS)
    units[: ROWS // 2] = points[0]
    assert support(units, specification, island, np.random.default_rng()) > needed(ROWS)
