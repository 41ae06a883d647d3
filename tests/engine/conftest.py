"""Digits, the real data of these tests: 1797 images of 64 pixels, ten classes."""

import numpy as np
import pytest
from atoll.engine.islands import Island
from atoll.engine.specs import fit_rkme
from sklearn.datasets import load_digits


@pytest.fixture(scope="session")
def digits():
    return load_digits(return_X_y=True)


@pytest.fixture(scope="session")
def island(digits):
    return Island.mint(digits[0])


@pytest.fixture(scope="session")
def owners(digits, island):
    """Four owners by digits: island rows, and their RKMEs."""
    X, y = digits
    rows = {f"o{low}": island.transform(X[np.isin(y, (low, low + 1))])[:200] for low in (0, 2, 4, 6)}
    return rows, {name: fit_rkme(part, size=12, gamma=island.gamma) for name, part in rows.items()}
