import numpy as np
import pytest
from atoll.engine.reuse import route_by_rkme, route_by_sketch, sparse
from atoll.engine.specs import Sketch, sketch


@pytest.fixture(params=["disclosed", "sketches"])
def posterior(request, owners, island):
    """Posterior of 200 digits, fifty of each owner, in both forms."""
    rows = np.concatenate([part[:50] for part in owners[0].values()])
    members = list(owners[1].values())
    if request.param == "disclosed":
        return route_by_rkme(rows, members, [0.25] * 4)
    return route_by_sketch(rows, island, [sketch(member, island) for member in members], [0.25] * 4)


def test_every_row_sums_to_one(posterior):
    assert (posterior >= 0).all()
    np.testing.assert_allclose(posterior.sum(1), 1.0)
    np.testing.assert_allclose(sparse(posterior).sum(1), 1.0)


def test_most_rows_go_to_their_owner(posterior):
    assert (posterior.argmax(1) == np.repeat(range(4), 50)).mean() > 0.8


def test_a_far_row_does_not_underflow(owners):
    rows = np.full((1, 64), 1e4, np.float32)
    assert route_by_rkme(rows, list(owners[1].values()), [0.25] * 4).sum() == pytest.approx(1)


def test_a_row_nobody_claims_falls_back_on_the_weights(owners, island):
    zero = [Sketch(np.zeros(512, np.int8), 0.0)] * 2
    np.testing.assert_allclose(route_by_sketch(owners[0]["o0"][:3], island, zero, [3, 1]), [[0.75, 0.25]] * 3)


def test_small_shares_are_cut():
    np.testing.assert_allclose(sparse(np.array([[0.99, 0.01]])), [[1, 0]])
