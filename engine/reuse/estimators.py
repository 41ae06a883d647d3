"""Every way of using members together as a scikit-learn estimator: a classifier and a regressor of each.

All pass ``check_estimator`` with members that take rows of any width. All but augmentation carry the tag
``poor_score``: they can only be as good as their members. For routing and the job selector those checks apply whose
rows have the width of the members' specifications; rows of any other are refused (DimensionMismatch, FeatureMismatch).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from atoll.engine.errors import SpecificationError
from atoll.engine.islands import Island
from atoll.engine.reuse.augmentation import Augmentation
from atoll.engine.reuse.averaging import Averaging, Kind
from atoll.engine.reuse.combining import prior
from atoll.engine.reuse.estimating import Classifier, Estimator, Regressor
from atoll.engine.reuse.pruning import Pruning
from atoll.engine.reuse.reuser import Floats, Reuser
from atoll.engine.reuse.selector import JobSelector
from atoll.engine.reuse.single import Single
from atoll.engine.specs.rkme import Rkme


class _ByRouting(Estimator):
    def _reuser(self, units: Floats) -> Reuser:
        return self._routing()


class _ByJobSelector(Estimator):
    def _reuser(self, units: Floats) -> Reuser:
        rkmes = [each for each in self.specifications or () if isinstance(each, Rkme)]
        if self.island is None or len(rkmes) != len(self.members):
            raise SpecificationError("the job selector needs the RKMEs of the members, and their island")
        return JobSelector(rkmes, self.weights, self.island)


class _ByAveraging(Estimator):
    def __init__(
        self, members: Sequence[Any] = (), weights: Sequence[float] | None = None, island: Island | None = None,
        kind: Kind = "mean",
    ) -> None:  # fmt: skip
        super().__init__(members, weights, None, island)
        self.kind = kind

    def _reuser(self, units: Floats) -> Reuser:
        return Averaging(len(self.members), self.weights, self.kind)


class _BySingle(Estimator):
    def _reuser(self, units: Floats) -> Reuser:
        return Single(int(prior(self.weights, len(self.members)).argmax()), len(self.members))


class _ByPruning(Estimator):
    _labelled = True

    def _reuser(self, units: Floats) -> Reuser:
        return Pruning(self._task, self._start(units))


class _ByAugmentation(Estimator):
    _labelled = True
    _beyond_members = True

    def _reuser(self, units: Floats) -> Reuser:
        return Augmentation(self._task, self._start(units))


class RoutingClassifier(_ByRouting, Classifier):
    """Soft routing: each row weighs the members by the posterior that it came from their distribution."""


class RoutingRegressor(_ByRouting, Regressor):
    """Soft routing: each row weighs the members by the posterior that it came from their distribution."""


class JobSelectorClassifier(_ByJobSelector, Classifier):
    """Each row is answered by the one member whose specification it fits best."""


class JobSelectorRegressor(_ByJobSelector, Regressor):
    """Each row is answered by the one member whose specification it fits best."""


class AveragingClassifier(_ByAveraging, Classifier):
    """The mean of all members, or their vote; ``kind`` as in ``Averaging``."""


class AveragingRegressor(_ByAveraging, Regressor):
    """The mean of all members, or their vote; ``kind`` as in ``Averaging``."""


class SingleClassifier(_BySingle, Classifier):
    """The heaviest member alone."""


class SingleRegressor(_BySingle, Regressor):
    """The heaviest member alone."""


class PruningClassifier(_ByPruning, Classifier):
    """The members that are best together on the labelled rows, routed where there are specifications."""


class PruningRegressor(_ByPruning, Regressor):
    """The members that are best together on the labelled rows, routed where there are specifications."""


class AugmentationClassifier(_ByAugmentation, Classifier):
    """The label-free answer (routed where there are specifications, else averaged), corrected by labelled rows."""


class AugmentationRegressor(_ByAugmentation, Regressor):
    """The label-free answer (routed where there are specifications, else averaged), corrected by labelled rows."""
