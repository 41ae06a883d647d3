import numpy as np
import pytest
from atoll.engine.errors import DimensionMismatch, SpecificationError
from atoll.engine.reuse import Routing, sparse
from atoll.engine.specs import Rkme, Sketch, sketch
from atoll.engine.specs.kernels import gaussian, squared_distances
from atoll.engine.specs.sketch import features

EQUAL = [0.25] * 4


@pytest.fixture(params=["rkme", "sketch"])
def routing(request, market, island):
    specifications = market.rkmes if request.param == "rkme" else market.sketches
    return Routing(specifications, EQUAL, island).fit(market.units)


def test_every_row_is_shared_out_whole(routing, market):
    for shares in (routing.posterior(market.units), routing.shares(market.units)):
        assert (shares >= 0).all()
        np.testing.assert_allclose(shares.sum(1), 1.0)


def test_most_rows_go_to_their_owner_and_are_answered_right(routing, market):
    shares = routing.shares(market.units)
    assert (shares.argmax(1) == market.homes).mean() > 0.8
    answer = routing.combine(market.units, shares, market.outputs)
    assert (answer.argmax(1) == market.target).mean() > 0.8


def test_only_the_members_with_a_share_are_asked(routing, market):
    shares = routing.shares(market.units)
    asked = np.where(shares[:, :, None] > 0, market.outputs, np.nan)
    np.testing.assert_allclose(
        routing.combine(market.units, shares, asked), routing.combine(market.units, shares, market.outputs)
    )
    assert (shares == 0).any()


def test_rows_are_routed_alike_however_they_are_cut(routing, market):
    parts = [routing.shares(market.units[:100]), routing.shares(market.units[100:])]
    np.testing.assert_allclose(np.concatenate(parts), routing.shares(market.units), atol=1e-6)
    assert routing.shares(market.units[:0]).shape == (0, 4)


def test_the_others_answer_for_a_member_that_has_failed(routing, market):
    outputs = market.outputs.copy()
    outputs[:, 0] = np.nan
    answer = routing.combine(market.units, routing.shares(market.units), outputs)
    assert np.isfinite(answer).all()
    np.testing.assert_allclose(answer.sum(1), 1.0)
    outputs[5] = np.nan
    assert np.isnan(routing.combine(market.units, routing.shares(market.units), outputs)[5]).all()


def test_rows_that_nobody_may_answer_stay_without_an_answer(routing, market):
    shares = np.zeros((len(market.units), 4))
    assert np.isnan(routing.combine(market.units, shares, market.outputs)).all()


def test_one_member_has_every_row(market, island):
    for specifications in (market.rkmes[:1], market.sketches[:1]):
        routing = Routing(specifications, [0.3], island).fit(market.units)
        np.testing.assert_array_equal(routing.shares(market.units), np.ones((len(market.units), 1)))


def test_a_far_row_does_not_underflow(market, island):
    rows = np.full((1, market.units.shape[1]), 1e4, np.float32)
    assert Routing(market.rkmes, EQUAL, island).posterior(rows).sum() == pytest.approx(1)


def test_a_row_nobody_claims_falls_back_on_the_weights(market, island):
    zero = [Sketch(np.zeros(512, np.int8), 0.0)] * 2
    routing = Routing(zero, [3, 1], island).fit(market.units[:3])
    np.testing.assert_allclose(routing.posterior(market.units[:3]), [[0.75, 0.25]] * 3)


def test_a_member_without_weight_has_no_say(market, island):
    shares = Routing(market.rkmes, [1, 1, 1, 0], island).shares(market.units)
    assert not shares[:, 3].any()


def test_small_shares_are_cut():
    np.testing.assert_allclose(sparse(np.array([[0.99, 0.01]])), [[1, 0]])


def test_forms_islands_and_lengths_are_not_mixed(market, island):
    other = Rkme(market.rkmes[0].points, market.rkmes[0].weights, 3 * island.gamma, 10)
    for specifications in ([*market.rkmes[:3], market.sketches[0]], [other], [], [market.sketches[0], _long()]):
        with pytest.raises(DimensionMismatch):
            Routing(specifications, None, island)


@pytest.mark.parametrize("weights", [[1, 1, 1], [1, 1, 1, -1], [0, 0, 0, 0], [1, 1, 1, np.nan]])
def test_weights_that_are_none_are_refused(market, island, weights):
    with pytest.raises(SpecificationError):
        Routing(market.rkmes, weights, island)


def test_sketches_want_rows_of_the_user_first(market, island):
    with pytest.raises(SpecificationError, match="not fitted"):
        Routing(market.sketches, None, island).shares(market.units)


def test_rows_unlike_any_are_not_covered_and_the_owners_rows_are(routing, market):
    foreign = np.random.default_rng(0).normal(0, 3, (200, 64)).astype(np.float32)
    assert routing.covered(market.units).mean() > 0.95
    assert routing.covered(foreign).mean() < 0.05


def test_claims_and_densities_are_those_of_the_formulas(market, island):
    rows, routing = market.units[:50], Routing(market.rkmes, EQUAL, island)
    points = np.concatenate([each.points for each in market.rkmes])
    owners = np.repeat(np.arange(4), [len(each.points) for each in market.rkmes])
    counts = np.concatenate([each.weights for each in market.rkmes]) / 4
    K, gamma = gaussian(points, points, island.gamma), island.gamma
    A = np.linalg.solve(K * counts + 1e-3 * np.eye(len(points)), np.eye(4)[owners])
    claims = np.maximum(gaussian(rows, points, gamma) * counts @ A, 0)
    np.testing.assert_allclose(routing.posterior(rows), claims / claims.sum(axis=1, keepdims=True), atol=1e-4)
    far = rows + 30.0  # of which no point says anything
    kernels = np.stack([-4 * gamma * squared_distances(far, each.points).min(axis=1) for each in market.rkmes], axis=1)
    np.testing.assert_array_equal(routing.posterior(far).argmax(axis=1), kernels.argmax(axis=1))
    phi = features(rows, island)
    means = np.array([each.floats() for each in market.sketches], np.float64)
    ratios = np.maximum(phi @ np.linalg.solve(phi.T @ phi / 50 + 1e-2 * np.eye(512), means.T), 0)
    told, K = ratios / ratios.sum(axis=1, keepdims=True), gaussian(rows, rows, gamma)
    claims = np.maximum(K @ np.linalg.solve(K + 50 * 1e-3 * np.eye(50), told), 0)
    expected = claims / claims.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(Routing(market.sketches, EQUAL, island).fit(rows).posterior(rows), expected, atol=1e-3)


def test_long_sketches_route_as_well(market, island):
    long = [sketch(each, island, blocks=2) for each in market.rkmes]
    shares = Routing(long, None, island).fit(market.units).shares(market.units)
    assert (shares.argmax(1) == market.homes).mean() > 0.8


def _long():
    return Sketch(np.zeros(1024, np.int8), 0.0)
