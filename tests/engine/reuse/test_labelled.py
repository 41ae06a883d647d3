"""Pruning, augmentation and the choice between methods: what labelled rows are good for."""

import numpy as np
import pytest
from atoll.engine.errors import SpecificationError
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


def test_who_answers_no_labelled_row_is_no_choice_and_has_no_loss(delays):
    rows, outputs, y = delays
    silent = outputs.copy()
    silent[:, 0] = np.nan

    choice = choose({"single": Single(0, 3), "averaging": Averaging(3)}, rows, silent, y, "regression")
    alone = choose({"single": Single(0, 3)}, rows, silent, y, "regression")

    assert choice.method == "averaging"
    assert list(choice.validation) == ["averaging"]
    assert (alone.method, alone.validation) == ("single", {})


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


def test_what_the_labels_do_not_improve_stays_nearly_as_it_is(market, island):
    routing = Routing(market.rkmes, None, island)
    few = slice(0, 20)
    augmented = Augmentation("classification", routing).fit(market.units[few], market.outputs[few], market.target[few])
    before = (answer(routing, market.units, market.outputs).argmax(1) == market.target).mean()
    after = (answer(augmented, market.units, market.outputs).argmax(1) == market.target).mean()
    assert after > before - 0.02


def test_classes_that_no_member_knows_are_learnt_from_the_labels(market, island):
    routing = Routing(market.rkmes, None, island)
    outputs = market.outputs.copy()
    outputs[:, 3, 6:] = 0.0
    outputs[:, 3, 0] = 1.0  # nobody knows of 6 and 7
    target = market.target
    augmented = Augmentation("classification", routing).fit(market.units[:150], outputs[:150], target[:150])
    late = slice(150, None)
    found = answer(augmented, market.units[late], outputs[late]).argmax(1)
    assert (found[target[late] >= 6] == target[late][target[late] >= 6]).mean() > 0.5


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


def test_what_is_no_better_than_noise_is_not_chosen(market, island):
    routing = Routing(market.rkmes, None, island)
    candidates = {"augmentation": Augmentation("classification", routing), "routing": routing}
    choice = choose(candidates, market.units[:10], market.outputs[:10], market.target[:10], "classification")
    assert choice.method == "routing"
    assert choice.reuser is routing
