"""What a user gets alone from a few labelled rows: the best of three usual models, chosen by cross-validation."""

from __future__ import annotations

from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDS = 3
BOOSTED: dict[str, Any] = {"verbose": -1, "n_jobs": 1, "min_child_samples": 5, "n_estimators": 60}


def self_trained(
    rows: NDArray[np.float64], labels: NDArray[Any], classes: int, asked: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Predictions (n, c) for ``asked``: probabilities of ``classes`` classes, or with 0 classes values (n, 1)."""
    models = (
        (
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
            RandomForestClassifier(100, random_state=0),
            LGBMClassifier(**BOOSTED),
        )
        if classes
        else (
            make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 3, 12))),
            RandomForestRegressor(100, random_state=0),
            LGBMRegressor(**BOOSTED),
        )
    )
    with catch_warnings():
        simplefilter("ignore")  # a class may have fewer rows than there are folds
        scoring = "accuracy" if classes else "neg_mean_squared_error"
        scores = [cross_val_score(model, rows, labels, cv=FOLDS, scoring=scoring).mean() for model in models]
        best = models[int(np.nanargmax(scores))].fit(rows, labels)
        if not classes:
            return np.asarray(best.predict(asked), np.float64).reshape(-1, 1)
        values = np.zeros((len(asked), classes))
        values[:, best.classes_] = best.predict_proba(asked)
    return values
