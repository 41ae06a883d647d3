"""Pruning, augmentation and the choice between methods: what labelled rows are good for."""

import copy

import numpy as np
import pytest
from atoll.engine.errors import DimensionMismatch, NotFinite, SpecificationError
from atoll.engine.reuse import Augmentation, Averaging, Pruning, Routing, Single, choose


def answer(reuser, units, outputs):
    return reuser.combine(units, reuser.shares(units), outputs)


@pytest.fixture
def delays():
    """Rows (300, 4), outputs (300, 3, 1) of members with an offset, noisy, and useless, true values (300, 1)."""
    random = np.random.default_rng(0)
    rows = random.standard_normal((300, 4)).astype(np.float32)
    y = rows[:, 0] + 0.5 * rows[:, 1]
    outputs = np.stack([y + 1, y + random.normal(0, 0.5, 300), random.normal(0, 1, 300)], axis=1)[:, :, None]
    return rows, outputs, y[:, None]


def test_who_answers_no_labelled_row_has_a_loss_that_can_be_told(delays):
    rows, outputs, y = delays
    alone = choose({"single": Single(0, 3)}, rows, np.full_like(outputs, np.nan), y, "regression")

    assert alone.method == "single"
    assert np.isfinite(alone.validation["single"].mean)


def test_pruning_leaves_out_who_is_of_no_use(delays):
    rows, outputs, y = delays
    pruning = Pruning("regression", Averaging(3)).fit(rows[:50], outputs[:50], y[:50])
    shares = pruning.shares(rows)
    np.testing.assert_allclose(shares.sum(1), 1)
    assert shares[0, 2] < 0.15
    even = Averaging(3)
    assert np.mean((answer(pruning, rows, outputs) - y) ** 2) < np.mean((answer(even, rows, outputs) - y) ** 2)


def test_augmentation_corrects_the_label_free_answer(delays):
    rows, outputs, y = delays
    start = Single(0, 3)
    augmented = Augmentation("regression", start).fit(rows[:50], outputs[:50], y[:50])
    assert np.mean((answer(augmented, rows, outputs) - y) ** 2) < 0.05
    assert (augmented.shares(rows) > 0).all()


@pytest.mark.parametrize("method", [Pruning, Augmentation])
def test_labels_tell_which_classes_a_user_has(market, island, method):
    has = market.target < 3
    rows, outputs, target = market.units[has], market.outputs[has], market.target[has]
    routing = Routing(market.rkmes, None, island)
    taught = method("classification", routing).fit(rows[:60], outputs[:60], target[:60])
    before = (answer(routing, rows[60:], outputs[60:]).argmax(1) != target[60:]).mean()
    after = (answer(taught, rows[60:], outputs[60:]).argmax(1) != target[60:]).mean()
    assert after < 0.75 * before


def test_labels_of_pure_noise_leave_the_answer_as_it_was(delays):
    rows, outputs, _ = delays
    noise = np.random.default_rng(1).standard_normal((300, 1)) * 5
    start = Averaging(3)
    taught = Augmentation("regression", start).fit(rows[:8], outputs[:8], noise[:8])
    assert np.abs(answer(taught, rows, outputs) - answer(start, rows, outputs)).max() < 2


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_units_of_the_target_do_not_matter(delays, factor):
    rows, outputs, y = delays
    for make in (Pruning, Augmentation):
        found = [
            answer(make("regression", Averaging(3)).fit(rows[:50], by * outputs[:50], by * y[:50]), rows, by * outputs)
            for by in (1.0, factor)
        ]
        np.testing.assert_allclose(found[1] / factor, found[0], rtol=1e-4, atol=1e-4)


def test_abstaining_rows_and_members_that_fail_are_borne(market, island):
    routing = Routing(market.rkmes, None, island)
    outputs = market.outputs.copy()
    outputs[:, 1] = np.nan
    for make in (Pruning, Augmentation):
        taught = make("classification", routing).fit(market.units[:60], market.outputs[:60], market.target[:60])
        shares = taught.shares(market.units) * (np.arange(len(market.units)) > 3)[:, None]
        found = taught.combine(market.units, shares, outputs)
        assert np.isnan(found[:4]).all()
        np.testing.assert_allclose(found[4:].sum(1), 1)
        assert taught.covered(market.units).mean() > 0.9


@pytest.mark.parametrize(
    ("target", "task", "error"),
    [
        ([0, 8], "classification", DimensionMismatch),
        ([-1, 1], "classification", DimensionMismatch),
        ([np.nan, 1], "classification", NotFinite),
        ([0.0, 1.0], "regression", DimensionMismatch),
        ([0, 1, 2], "classification", DimensionMismatch),
    ],
)
def test_labels_that_do_not_fit_the_outputs_are_refused(market, target, task, error):
    with pytest.raises(error):
        Pruning(task, Single(0, 4)).fit(market.units[:2], market.outputs[:2], np.array(target))


def test_classes_that_no_member_knows_are_learnt_from_the_labels(market, island):
    routing = Routing(market.rkmes, None, island)
    outputs = market.outputs.copy()
    outputs[:, 3, 6:] = 0.0
    outputs[:, 3, 0] = 1.0  # nobody knows of 6 and 7
    target = market.target
    augmented = Augmentation("classification", routing).fit(market.units[:150], outputs[:150], target[:150])
    late = slice(150, None)
    found = answer(augmented, market.units[late], outputs[late]).argmax(1)
    assert (found[target[late] >= 6] == target[late][target[late] >= 6]).mean() > 0.4


@pytest.mark.parametrize(
    "make", [lambda start: Augmentation("classification", start), lambda start: Pruning("classification", start)]
)
@pytest.mark.parametrize("chosen", [slice(0, 1), slice(0, 3), "one class"])
def test_few_labels_or_one_class_are_enough_for_an_answer(market, island, make, chosen):
    chosen = np.flatnonzero(market.target == 3)[:8] if chosen == "one class" else chosen
    reuser = make(Routing(market.rkmes, None, island))
    reuser.fit(market.units[chosen], market.outputs[chosen], market.target[chosen])
    found = answer(reuser, market.units, market.outputs)
    np.testing.assert_allclose(found.sum(1), 1)


@pytest.mark.parametrize(
    "make", [lambda start: Augmentation("regression", start), lambda start: Pruning("regression", start)]
)
def test_constant_and_missing_outputs_and_features_are_no_trouble(delays, make):
    rows, outputs, y = delays
    rows, outputs = rows.copy(), outputs.copy()
    rows[:, 3], outputs[:, 1], outputs[:, 2], outputs[::7, 0] = 5.0, 0.25, np.nan, np.nan
    reuser = make(Averaging(3)).fit(rows[:50], outputs[:50], y[:50])
    assert np.isfinite(answer(reuser, rows, outputs)).all()


def test_without_labels_they_say_what_they_need(market):
    for reuser in (Pruning("classification", Single(0, 4)), Augmentation("classification", Single(0, 4))):
        with pytest.raises(SpecificationError, match="labelled"):
            reuser.fit(market.units)


def test_the_best_is_chosen_by_rows_it_was_not_fitted_to(delays):
    rows, outputs, y = delays
    candidates = {
        "single": Single(1, 3),
        "averaging": Averaging(3),
        "augmentation": Augmentation("regression", Averaging(3)),
    }
    choice = choose(candidates, rows[:60], outputs[:60], y[:60], "regression")
    assert choice.method == "augmentation"
    assert set(choice.validation) == set(candidates)
    assert np.mean((answer(choice.reuser, rows, outputs) - y) ** 2) < choice.validation["single"].mean


def test_what_is_no_better_than_the_first_is_not_chosen(market, island):
    routing = Routing(market.rkmes, None, island)
    candidates = {"routing": routing, "again": copy.copy(routing), "averaging": Averaging(4), "single": Single(0, 4)}
    choice = choose(candidates, market.units[:30], market.outputs[:30], market.target[:30], "classification")
    assert choice.method == "routing"
    assert choice.reuser is routing


def test_one_labelled_row_chooses_among_what_needs_none(market, island):
    routing = Routing(market.rkmes, None, island)
    pruning = Pruning("classification", routing)
    one = (market.units[:1], market.outputs[:1], market.target[:1], "classification")
    assert set(choose({"routing": routing, "pruning": pruning}, *one).validation) == {"routing"}
    with pytest.raises(SpecificationError, match="no method"):
        choose({"pruning": pruning}, *one)


def test_members_that_never_answered_are_no_trouble_to_the_choice(delays):
    rows, _, y = delays
    candidates = {"single": Single(0, 3), "pruning": Pruning("regression", Averaging(3))}
    choice = choose(candidates, rows[:20], np.full((20, 3, 1), np.nan), y[:20], "regression")
    assert choice.method == "single"
