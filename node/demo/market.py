"""What is trained on scikit-learn's bundled data: the demo's market with three users, and the first visit's example.

Each model is fitted to four of five of its institution's rows; the fifth, which it has not seen, measure its quality.
"""

from __future__ import annotations

import io
import secrets
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from atoll.engine.islands import Island
from atoll.engine.semantic import SemanticSpec
from atoll.engine.tables import Table
from atoll.node.acceptance.submissions import LabelledRows
from atoll.protocol.listings import Offers
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SEED = 7
HELD_BACK = 5  # every fifth row
MARKET_ROWS = 1200  # of the 1797 digits; users draw from the rest
PIXELS = tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8))

DOWNLOAD = Offers(disclose="members", download="members")
PREDICT = Offers(disclose="members", predict="members")
BOTH = Offers(disclose="members", predict="members", download="members")
MATCH = Offers()


@dataclass(frozen=True)
class Product:
    """A model that an institution has trained, with the rows it is good on, and those of them that it was not fitted
    to, with their answers."""

    name: str
    description: str
    scenario: str
    estimator: Any
    rows: Table
    labelled: LabelledRows
    class_names: tuple[str, ...]
    offers: Offers

    @property
    def task(self) -> Literal["classification", "regression"]:
        return "classification" if self.class_names else "regression"

    @property
    def semantic(self) -> SemanticSpec:
        return SemanticSpec(
            self.name, self.description, task=self.task.title(), scenario=(self.scenario,), license="BSD-3-Clause"
        )

    def accuracy(self, values: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
        return float(np.mean(self.estimator.predict(values).astype(int) == labels))


@dataclass(frozen=True)
class User:
    """Someone with unlabelled rows; the labels are only for scoring."""

    name: str
    rows: Table
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Market:
    """Institution name -> products; ``digits`` are those that claim to read digits."""

    institutions: dict[str, tuple[Product, ...]]
    users: tuple[User, ...]

    @property
    def digits(self) -> list[Product]:
        products = [product for shelf in self.institutions.values() for product in shelf]
        return [product for product in products if product.rows.columns == PIXELS]


@dataclass(frozen=True)
class Example:
    """Models that each know a part of the world, and the rows of somebody who needs all of it."""

    products: tuple[Product, ...]
    user: User


def example() -> Example:
    """Train two that read half of the digits each, and one of something else; a second or two."""
    digits, values, labels = _digits()
    products = (
        digits.product("Digits 0 to 4", (0, 1, 2, 3, 4), BOTH),
        digits.product("Digits 5 to 9", (5, 6, 7, 8, 9), BOTH),
        _tabular("Wine cultivars", load_wine(), "Agriculture", BOTH),
    )
    return Example(products, User("somebody with all ten digits", _pixels(values), labels))


def packed(product: Product, island: Island, owner: str, now: int) -> bytes:
    """The package of a product; PrivacyRefusal where the gate keeps its specification in."""
    from atoll.engine.packages.convert import to_onnx
    from atoll.engine.packages.pack import pack
    from atoll.engine.runtime import Signature

    inputs = product.rows.values.shape[1]
    package = io.BytesIO()
    pack(
        package, to_onnx(product.estimator, inputs), product.rows, island, product.semantic,
        Signature(product.task, inputs, len(product.class_names) or 1), owner=owner, created_at=now,
        salt=secrets.token_bytes(16), class_names=product.class_names,
    )  # fmt: skip
    return package.getvalue()


def _digits() -> tuple[_Digits, NDArray[np.float64], NDArray[np.int64]]:
    """What models are trained on, and the rows and labels that are held back."""
    values, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(values))
    values, labels = values[order], labels[order]
    return _Digits(values[:MARKET_ROWS], labels[:MARKET_ROWS]), values[MARKET_ROWS:], labels[MARKET_ROWS:]


def build() -> Market:
    """Train everything; a second or two."""
    digits, values, labels = _digits()
    institutions = {
        "North University": (
            digits.product("Digits 0 to 3", (0, 1, 2, 3), DOWNLOAD),
            _tabular("Wine cultivars", load_wine(), "Agriculture", MATCH),
        ),
        "Harbour Clinic": (
            digits.product("Digits 4 to 6", (4, 5, 6), PREDICT),
            digits.decoy("Digits, pixels scrambled", (4, 5, 6), BOTH),
            _tabular("Breast cancer, benign or malignant", load_breast_cancer(), "Health", MATCH),
        ),
        "South Post": (
            digits.product("Digits 7 to 9", (7, 8, 9), BOTH),
            _tabular("Diabetes progression", load_diabetes(), "Health", MATCH),
        ),
    }
    return Market(institutions, _users(values, labels))


def _users(values: NDArray[np.float64], labels: NDArray[np.int64]) -> tuple[User, ...]:
    middle = np.isin(labels, (4, 5, 6))
    return (
        User("a sorting office with all ten digits", _pixels(values), labels),
        User("an archive with the digits 4, 5 and 6", _pixels(values[middle]), labels[middle]),
        User("a laboratory whose scanner gives negatives", _pixels(16.0 - values[:200]), labels[:200]),
    )


@dataclass(frozen=True)
class _Digits:
    values: NDArray[np.float64]
    labels: NDArray[np.int64]

    def product(self, name: str, classes: tuple[int, ...], offers: Offers) -> Product:
        chosen = np.isin(self.labels, classes)
        return _fitted(
            name, "Handwritten digits, 8x8 grey values 0-16.", self.values[chosen], self.labels[chosen], offers
        )

    def decoy(self, name: str, classes: tuple[int, ...], offers: Offers) -> Product:
        """The same claim in words, the same island, but pixels in another order: useless to others."""
        shuffled = np.random.default_rng(SEED).permutation(64)
        chosen = np.isin(self.labels, classes)
        return _fitted(name, "Handwritten digits, as our scanner sends them.", self.values[chosen][:, shuffled],
                       self.labels[chosen], offers)  # fmt: skip


def _fitted(
    name: str, description: str, values: NDArray[np.float64], labels: NDArray[np.int64], offers: Offers
) -> Product:
    names = tuple(str(label) for label in np.unique(labels))
    answers = tuple(str(label) for label in labels)
    rows = _pixels(values)
    estimator, labelled = _measurable(LogisticRegression(max_iter=2000), rows, labels, answers)
    return Product(name, description, "Business", estimator, rows, labelled, names, offers)


def _measurable(
    model: Any, rows: Table, target: NDArray[Any], answers: tuple[str | float, ...]
) -> tuple[Any, LabelledRows]:  # fmt: skip
    """The model, fitted to the other rows, and those that are held back, with their ``answers``."""
    back = np.arange(len(target)) % HELD_BACK == 0
    estimator = make_pipeline(StandardScaler(), model).fit(rows.values[~back], target[~back])
    held = tuple(map(tuple, rows.values[back].tolist()))
    return estimator, LabelledRows(rows.columns, held, answers[::HELD_BACK])


def _tabular(name: str, bunch: Any, scenario: str, offers: Offers) -> Product:
    columns = tuple(str(column).replace(" ", "_") for column in bunch.feature_names)
    classes = tuple(str(label) for label in getattr(bunch, "target_names", ()))
    model = LogisticRegression(max_iter=5000) if classes else Ridge()
    answers = tuple(classes[label] for label in bunch.target) if classes else tuple(map(float, bunch.target))
    rows = Table(bunch.data, columns)
    estimator, labelled = _measurable(model, rows, bunch.target, answers)
    description = f"{len(bunch.data)} rows of scikit-learn's bundled data."
    return Product(name, description, scenario, estimator, rows, labelled, classes, offers)


def _pixels(values: NDArray[np.float64]) -> Table:
    return Table(np.asarray(values, np.float64), PIXELS)
