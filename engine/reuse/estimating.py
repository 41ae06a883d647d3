"""What the scikit-learn estimators of this package share: rows in, members asked, answers aligned by class names.

``members`` are fitted models: anything with ``predict_proba`` or ``predict``, given rows as the user has them. Those
that name their classes (``class_names``, else ``classes_``) are aligned by name; one that does not answers for the
first of the classes in sorted order. Label-free ones take ``y`` for the names of classes only. Wrap members that are
scikit-learn's own in its ``FrozenEstimator`` where estimators are cloned, as for cross-validation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from atoll.engine.errors import SpecificationError
from atoll.engine.islands import Island
from atoll.engine.reuse.averaging import Averaging
from atoll.engine.reuse.labels import aligned, spread, union
from atoll.engine.reuse.reuser import Doubles, Floats, Reuser, Task
from atoll.engine.reuse.routing import Routing
from atoll.engine.specs.rkme import Rkme
from atoll.engine.specs.sketch import Sketch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data


class Estimator(BaseEstimator, ABC):  # type: ignore[misc]
    """``weights`` are those of the mixture (None: equal); routing and the job selector need the members'
    ``specifications`` and their ``island``, pruning and augmentation start from routing with them. The ``island``
    brings rows into its units (None: they are in them)."""

    _task: ClassVar[Task]
    _labelled: ClassVar[bool] = False
    _beyond_members: ClassVar[bool] = False  # whether it can be better than all of its members

    def __init__(
        self,
        members: Sequence[Any] = (),
        weights: Sequence[float] | None = None,
        specifications: Sequence[Rkme] | Sequence[Sketch] | None = None,
        island: Island | None = None,
    ) -> None:
        self.members = members
        self.weights = weights
        self.specifications = specifications
        self.island = island

    def _needs_labels(self) -> bool:
        """Also to know what the classes are, where no member says."""
        return self._labelled or (self._task == "classification" and not any(map(_names, self.members)))

    @abstractmethod
    def _reuser(self, units: Floats) -> Reuser:
        """The method, not yet fitted; ``units`` are the rows that it will be fitted to."""

    @abstractmethod
    def _predicted(self, place: int, X: Doubles) -> Doubles:
        """What a member answers to rows: (n, c)."""

    def _routing(self) -> Routing:
        if self.specifications is None or self.island is None:
            raise SpecificationError("routing needs the specifications of the members, and their island")
        return Routing(self.specifications, self.weights, self.island)

    def _start(self, units: Floats) -> Reuser:
        """The label-free method from which one with labels starts: routing, if there are specifications."""
        routed = self.specifications is not None
        return self._routing().fit(units) if routed else Averaging(len(self.members), self.weights)

    def _validated(self, X: Any, y: Any) -> tuple[Doubles, Any]:
        if not len(self.members):
            raise SpecificationError("there are no members to reuse", hint="pass fitted models as members")
        if y is None and not self._needs_labels():
            return validate_data(self, X, dtype=np.float64), None
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True)
        return X, column_or_1d(y, warn=True) if self._task == "classification" or y.shape[1:] == (1,) else y

    def _learn(self, X: Doubles, target: Any) -> None:
        units = self._units(X)
        reuser = self._reuser(units)
        if self._labelled:
            reuser.fit(units, self._outputs(X, np.ones((len(X), len(self.members)))), target)
        else:
            reuser.fit(units)
        self.reuser_ = reuser

    def _answer(self, X: Any) -> Doubles:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        units = self._units(X)
        shares = self.reuser_.shares(units)
        return self.reuser_.combine(units, shares, self._outputs(X, shares))

    def _units(self, X: Doubles) -> Floats:
        return np.asarray(X, np.float32) if self.island is None else self.island.transform(X)

    def _outputs(self, X: Doubles, shares: Doubles) -> Doubles:
        """(n, k, c); only rows in which a member has a say are given to it."""
        answers = [self._asked(place, X, shares[:, place] > 0) for place in range(len(self.members))]
        return aligned(answers, [()] * len(answers))[1]

    def _asked(self, place: int, X: Doubles, chosen: NDArray[np.bool_]) -> Doubles:
        answer = self._predicted(place, X[chosen])
        answers = np.full((len(X), answer.shape[1]), np.nan)
        answers[chosen] = answer
        return answers


class Classifier(ClassifierMixin, Estimator):  # type: ignore[misc]
    """Answers in ``classes_``: those of the members and of ``y``."""

    _task = "classification"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self._needs_labels()
        tags.classifier_tags.poor_score = not self._beyond_members
        return tags

    def fit(self, X: Any, y: Any = None) -> Self:
        X, y = self._validated(X, y)
        if y is not None:
            check_classification_targets(y)
        self.classes_ = _classes([_names(member) for member in self.members], y)
        places = {str(label): place for place, label in enumerate(self.classes_)}
        self._learn(X, None if y is None else np.array([places[str(label)] for label in y]))
        return self

    def predict_proba(self, X: Any) -> Doubles:
        return self._answer(X)

    def predict(self, X: Any) -> NDArray[Any]:
        places = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[places])

    def _predicted(self, place: int, X: Doubles) -> Doubles:
        common = tuple(map(str, self.classes_))
        names = _names(self.members[place])
        if not len(X):
            return np.zeros((0, len(common)))
        answer = np.asarray(self.members[place].predict_proba(X), np.float64)
        return spread(answer, names or common[: answer.shape[1]], common)


class Regressor(RegressorMixin, Estimator):  # type: ignore[misc]
    """Answers (n,), or (n, c) where the members predict several targets."""

    _task = "regression"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self._needs_labels()
        tags.regressor_tags.poor_score = not self._beyond_members
        return tags

    def fit(self, X: Any, y: Any = None) -> Self:
        X, y = self._validated(X, y)
        self._width = self._predicted(0, X[:1]).shape[1]
        self._learn(X, None if y is None else np.asarray(y, np.float64).reshape(len(X), -1))
        return self

    def predict(self, X: Any) -> Doubles:
        values = self._answer(X)
        return values[:, 0] if self._width == 1 else values

    def _predicted(self, place: int, X: Doubles) -> Doubles:
        if not len(X):
            return np.zeros((0, self._width))
        return np.asarray(self.members[place].predict(X), np.float64).reshape(len(X), -1)


def _names(member: Any) -> tuple[str, ...]:
    """The classes that a member names; () if it names none."""
    named = hasattr(member, "class_names")
    return tuple(map(str, member.class_names if named else getattr(member, "classes_", ())))


def _classes(names: Sequence[tuple[str, ...]], y: Any) -> NDArray[Any]:
    """Sorted: the labels of ``y`` as they are if they are all; else integers if all are, else strings."""
    labels = np.unique(y) if y is not None else np.zeros(0, int)
    own = tuple(map(str, labels))
    common = union([*names, own])
    if set(common) == set(own):
        return np.asarray(labels)
    whole = np.issubdtype(labels.dtype, np.integer) and all(name.isdecimal() for name in common)
    return np.unique([int(name) for name in common] if whole else list(common))
