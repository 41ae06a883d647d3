"""Four owners of digits with a model each, and a user who has rows of two of them."""

from dataclasses import dataclass

import numpy as np
import pytest
from atoll.engine.reuse import aligned
from atoll.engine.specs import sketch
from sklearn.linear_model import LogisticRegression


@dataclass(frozen=True)
class Digits:
    """Members: RKMEs, sketches, models; the user's rows, their outputs (n, 4, c) and class places (n,)."""

    rkmes: list
    sketches: list
    models: list
    names: tuple[str, ...]
    units: np.ndarray
    outputs: np.ndarray
    target: np.ndarray
    homes: np.ndarray


@pytest.fixture(scope="session")
def market(digits, island, owners):
    X, y = digits
    units = island.transform(X)
    rkmes = list(owners[1].values())
    pairs = [(low, low + 1) for low in (0, 2, 4, 6)]
    early = np.arange(len(y)) < 1200
    models = [
        LogisticRegression(max_iter=500).fit(units[early & np.isin(y, pair)], y[early & np.isin(y, pair)])
        for pair in pairs
    ]
    chosen = ~early & (y < 8)
    names, outputs = aligned(
        [model.predict_proba(units[chosen]) for model in models], [tuple(map(str, pair)) for pair in pairs]
    )
    sketches = [sketch(rkme, island) for rkme in rkmes]
    return Digits(rkmes, sketches, models, names, units[chosen], outputs, y[chosen], y[chosen] // 2)
