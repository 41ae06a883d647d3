"""Two markets on real data, as institutions hold it: what each trains and publishes, and users with rows like nobody's.

A seed settles everything. Seeds from 100 on are for tuning; those reported are 0, 1 and 2.

    market("images", 0)     fifty learnwares on skewed class subsets
    market("flights", 0)    a learnware for each airline at each airport of New York, its user is served by the others
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from warnings import catch_warnings, simplefilter

import numpy as np
from atoll.engine.tables import Table
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.typing import NDArray
from reuse_data import CLASSES, Pool, flights, images
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Data = Literal["images", "flights"]
Task = Literal["classification", "regression"]
Floats = NDArray[np.float64]

LEARNWARES = 50
OWNER_SHARES, USER_SHARES = (0.4, 0.4, 0.1, 0.1), (0.3, 0.3, 0.1, 0.1, 0.1, 0.1)  # as in the CIFAR-10 experiment
IMAGES = (600, 2400)  # of one owner, least and most
SITE_ROWS = 2000  # flights of one site that its learnware knows, at most
ROWS, LABELLED = 1000, 500  # of a user: to predict, and with labels beside them


@dataclass(frozen=True)
class Learnware:
    """``rows`` are what it was trained on and what its specification is of; of a class it has not seen it knows
    nothing, not even the name."""

    name: str
    rows: Table
    model: Any
    class_names: tuple[str, ...]

    def outputs(self, values: Floats, class_names: Sequence[str]) -> Floats:
        """(n, c): probabilities of the common classes, or (n, 1) values. float32 in, as every node takes rows."""
        rows = values.astype(np.float32)
        with catch_warnings():
            simplefilter("ignore")  # LightGBM and scikit-learn differ about feature names
            if not self.class_names:
                return np.asarray(self.model.predict(rows), np.float64).reshape(-1, 1)
            found = np.zeros((len(rows), len(class_names)))
            found[:, [class_names.index(name) for name in self.class_names]] = self.model.predict_proba(rows)
        return found


@dataclass(frozen=True)
class User:
    """``rows`` (n, d) are to be predicted and ``truth`` (n,) scores them: class places, or values. ``labelled`` and
    ``labels`` are 500 more. ``excluded``: the place of the learnware that is the user's own, which is not used."""

    name: str
    rows: Table
    truth: NDArray[Any]
    labelled: Table
    labels: NDArray[Any]
    excluded: int | None = None

    def loss(self, values: Floats) -> float:
        """Of predictions (n, c) for ``rows``: error rate, or mean squared error; a row left open counts as wrong,
        or as predicted by the mean of the others' values, which is 0 in standard units."""
        if values.shape[1] > 1:
            return float(np.mean(np.nan_to_num(values, nan=-1.0).argmax(axis=1) != self.truth))
        return float(np.mean((np.nan_to_num(values[:, 0]) - self.truth) ** 2))


@dataclass(frozen=True)
class Market:
    """``columns`` are those of all tables; ``class_names`` is empty in regression."""

    data: Data
    seed: int
    columns: tuple[str, ...]
    class_names: tuple[str, ...]
    learnwares: tuple[Learnware, ...]
    users: tuple[User, ...]

    @property
    def task(self) -> Task:
        return "classification" if self.class_names else "regression"

    def outputs(self, rows: Table) -> Floats:
        """(n, learnwares, c), of all models."""
        return np.stack([each.outputs(rows.values, self.class_names) for each in self.learnwares], axis=1)

    def others(self, user: User) -> list[int]:
        """The places of the learnwares that may serve a user."""
        return [place for place in range(len(self.learnwares)) if place != user.excluded]


def market(data: Data, seed: int, *, users: int = 12, work: Path | None = None) -> Market:
    """Build a market (some 20 seconds), or take it from the folder ``work``, where it was left by the same code."""
    code = b"".join(Path(__file__).with_name(name).read_bytes() for name in ("reuse_data.py", "reuse_market.py"))
    build = {"images": _images, "flights": _flights}[data]
    if work is None:
        return build(seed, users)
    kept = work / f"{data}-{seed}-{users}-{hashlib.sha256(code).hexdigest()[:12]}.pickle"
    if not kept.exists():
        work.mkdir(parents=True, exist_ok=True)
        made = kept.with_suffix(f".{seed}.part")
        made.write_bytes(pickle.dumps(build(seed, users)))
        made.rename(kept)
    return pickle.loads(kept.read_bytes())


def _images(seed: int, users: int) -> Market:
    """Owners draw from the 60 000 training images, each with four favourite classes, users from the 10 000 others,
    each with six, as in the CIFAR-10 experiment of the learnware papers."""
    random = np.random.default_rng([seed, 1])
    owned, other = images()
    learnwares = []
    for place in range(LEARNWARES):
        count = int(np.exp(random.uniform(*np.log(IMAGES))))
        pool = _skewed(owned, count, OWNER_SHARES, random)
        names = tuple(CLASSES[each] for each in np.unique(pool.target))
        name = f"{names[0]} to {names[-1]}, {place}"
        learnwares.append(Learnware(name, Table(pool.rows, pool.columns), _classifier(place, pool), names))
    made = []
    for place in range(users):
        pool = _skewed(other, ROWS + LABELLED, USER_SHARES, random)
        made.append(_user(f"user {place}", pool, None))
    return Market("images", seed, owned.columns, CLASSES, tuple(learnwares), tuple(made))


def _skewed(pool: Pool, count: int, shares: Sequence[float], random: np.random.Generator) -> Pool:
    """``count`` rows, as good as all of the classes that have a share."""
    favourites = random.choice(len(CLASSES), len(shares), replace=False)
    wanted = random.multinomial(count, shares)
    chosen = [
        random.choice(np.flatnonzero(pool.target == each), many, replace=False)
        for each, many in zip(favourites, wanted, strict=True)
    ]
    return pool.at(random.permutation(np.concatenate(chosen)))


def _flights(seed: int, users: int) -> Market:
    """A site is an airline at an airport; its rows are dealt out to its learnware and to its user."""
    random = np.random.default_rng([seed, 2])
    sites = flights()
    learnwares, eligible = [], []
    for place, (name, site) in enumerate(sites.items()):
        site = site.at(random.permutation(len(site.target)))
        count = min(SITE_ROWS, len(site.target) // 2)
        pool = site.at(slice(0, count))
        learnwares.append(Learnware(name, Table(pool.rows, pool.columns), _regressor(place, pool), ()))
        if len(site.target) >= count + ROWS + LABELLED:
            eligible.append(_user(name, site.at(slice(count, count + ROWS + LABELLED)), place))
    chosen = sorted(random.choice(len(eligible), min(users, len(eligible)), replace=False))
    columns = learnwares[0].rows.columns
    return Market("flights", seed, columns, (), tuple(learnwares), tuple(eligible[each] for each in chosen))


def _user(name: str, pool: Pool, excluded: int | None) -> User:
    rows, labelled = pool.at(slice(0, ROWS)), pool.at(slice(ROWS, ROWS + LABELLED))
    return User(
        name, Table(rows.rows, pool.columns), rows.target, Table(labelled.rows, pool.columns), labelled.target, excluded
    )


def _classifier(place: int, pool: Pool) -> Any:
    """Owners differ in what they know: by turns boosting, a network, a forest, a linear model, and poorer ones."""
    kinds = (
        lambda: LGBMClassifier(n_estimators=60, num_leaves=15, verbose=-1, n_jobs=1, random_state=place),
        lambda: make_pipeline(StandardScaler(), MLPClassifier((64,), max_iter=60, random_state=place)),
        lambda: RandomForestClassifier(80, min_samples_leaf=2, random_state=place),
        lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=300)),
        lambda: RandomForestClassifier(10, max_depth=4, random_state=place),
    )
    return _fitted(kinds[place % len(kinds)](), pool)


def _regressor(place: int, pool: Pool) -> Any:
    """LightGBM as it comes, at every site, as in the package's own experiments on tables."""
    return _fitted(LGBMRegressor(verbose=-1, n_jobs=1, random_state=place), pool)


def _fitted(model: Any, pool: Pool) -> Any:
    with catch_warnings():
        simplefilter("ignore")  # some networks are not converged: owners differ in that too
        target = np.array(CLASSES)[pool.target] if pool.target.dtype.kind == "i" else pool.target
        return model.fit(pool.rows.astype(np.float32), target)
