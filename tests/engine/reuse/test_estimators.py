import warnings

import numpy as np
import pytest
from atoll.engine.errors import DimensionMismatch, FeatureMismatch, SpecificationError
from atoll.engine.reuse import estimators
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.estimator_checks import check_estimator

KINDS = ["Classifier", "Regressor"]
ANY_WIDTH = ["Averaging", "Single", "Pruning", "Augmentation"]


class Blind:
    """A member that takes rows of any width: it answers with the first class, or the first column."""

    def predict_proba(self, X):
        return np.ones((len(X), 1))

    def predict(self, X):
        return X[:, 0]


class Pixels:
    """Values for digits: the mean of the pixels, times a factor."""

    def __init__(self, factor):
        self.factor = factor

    def predict(self, X):
        return self.factor * X.mean(axis=1)


@pytest.fixture
def estimator(request, market, island):
    """By name: over the four owners of digits, which answer from rows in island units."""
    cls = getattr(estimators, request.param)
    members = (
        list(map(FrozenEstimator, market.models))
        if cls.__name__.endswith("Classifier")
        else [Pixels(factor) for factor in (1, 1, 1, 2)]
    )
    if "Averaging" in cls.__name__ or "Single" in cls.__name__ or "Pruning" in cls.__name__:
        return cls(members)
    return cls(members, specifications=market.rkmes, island=same_units(island))


def same_units(island):
    """The island of rows that are in the units of ``island`` already."""
    from atoll.engine.islands import Feature, Island

    features = tuple(Feature(each.name, "", "affine", 0.0, 1.0) for each in island.features)
    return Island("table", island.dimension, island.gamma, features)


ALL = [f"{method}{kind}" for method in [*ANY_WIDTH, "Routing", "JobSelector"] for kind in KINDS]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", [f"{method}{kind}" for method in ANY_WIDTH for kind in KINDS])
def test_it_is_a_scikit_learn_estimator(name):
    check_estimator(getattr(estimators, name)(members=[Blind(), Blind()]), on_skip=None)


@pytest.mark.parametrize("estimator", [name for name in ALL if "Routing" in name or "Job" in name], indirect=True)
def test_where_the_width_is_given_the_checks_fail_by_it_alone(estimator):
    if type(estimator).__name__.endswith("Classifier"):
        estimator.set_params(members=[Blind()] * 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, on_skip=None, on_fail=None)
    failed = [each for each in results if each["status"] == "failed"]
    assert {_root(each["exception"]) for each in failed} <= {DimensionMismatch, FeatureMismatch}
    assert len(failed) < len(results)


def _root(error):
    while not isinstance(error, DimensionMismatch | FeatureMismatch) and (error.__cause__ or error.__context__):
        error = error.__cause__ or error.__context__
    return type(error)


@pytest.mark.parametrize("estimator", [name for name in ALL if name.endswith("Classifier")], indirect=True)
def test_a_classifier_answers_in_the_classes_of_its_members(estimator, market):
    few = slice(0, 60)
    fitted = clone(estimator).fit(market.units[few], market.target[few])
    np.testing.assert_array_equal(fitted.classes_, np.arange(8))
    proba = fitted.predict_proba(market.units)
    np.testing.assert_allclose(proba.sum(1), 1)
    assert fitted.score(market.units, market.target) > {"Single": 0.2, "Prunin": 0.4}.get(
        type(estimator).__name__[:6], 0.5
    )


@pytest.mark.parametrize("estimator", [name for name in ALL if name.endswith("Regressor")], indirect=True)
def test_a_regressor_answers_with_values(estimator, market):
    truth = market.units.mean(axis=1)
    fitted = clone(estimator).fit(market.units[:60], truth[:60])
    assert fitted.predict(market.units).shape == truth.shape
    assert fitted.score(market.units, truth) > 0


@pytest.mark.parametrize("estimator", ["RoutingClassifier", "AveragingRegressor"], indirect=True)
def test_what_needs_no_labels_is_fitted_without(estimator, market):
    assert len(estimator.fit(market.units).predict(market.units[:5])) == 5


@pytest.mark.parametrize("estimator", ["PruningClassifier", "AugmentationRegressor"], indirect=True)
def test_what_learns_from_labels_says_that_it_needs_them(estimator, market):
    with pytest.raises(ValueError, match="requires y"):
        estimator.fit(market.units)


def test_labels_that_no_member_knows_extend_the_classes(market):
    target = np.where(market.target == 7, 9, market.target)
    fitted = estimators.AugmentationClassifier(market.models).fit(market.units[:200], target[:200])
    np.testing.assert_array_equal(fitted.classes_, [*range(8), 9])
    assert (fitted.predict(market.units[200:]) == 9).any()


def test_labels_may_be_strings_and_members_named_by_hand(market):
    class Named(Blind):
        class_names = ("delay",)

    y = np.array(["none", "delay"])[market.target % 2]
    fitted = estimators.AveragingClassifier([Named()]).fit(market.units, y)
    assert set(fitted.predict(market.units)) == {"delay"}
    assert list(fitted.classes_) == ["delay", "none"]
    assert list(estimators.AveragingClassifier([Named()]).fit(market.units).classes_) == ["delay"]
    assert list(estimators.AveragingClassifier([Named()]).fit(market.units, market.target).classes_[-2:]) == [
        "7",
        "delay",
    ]


def test_what_is_missing_is_said(market):
    for name in ("RoutingClassifier", "JobSelectorRegressor"):
        with pytest.raises(SpecificationError, match="island"):
            getattr(estimators, name)([Blind()]).fit(market.units, market.target)
    with pytest.raises(SpecificationError, match="no members"):
        estimators.AveragingClassifier().fit(market.units, market.target)
    with pytest.raises(ValueError, match="requires y"):
        estimators.AveragingClassifier([Blind()]).fit(market.units)
