import numpy as np
import pytest
from atoll.engine.errors import DimensionMismatch, NotFinite, SpecificationError
from atoll.engine.matching import (
    gram_matrix,
    mixture_candidates,
    mixture_of_rkmes,
    mixture_of_sketches,
    solve_mixture,
)
from atoll.engine.matching.weights import gram_of_sketches
from atoll.engine.specs import Rkme, Sketch, fit_rkme, inner, sketch
from atoll.engine.specs.dp import Budget, private_sketch
from atoll.engine.specs.quadratic import minimise
from atoll.engine.specs.sketch import BLOCK
from hypothesis import given, settings
from hypothesis import strategies as st

SHARES = np.array([0.7, 0.3, 0.0, 0.0])
METHODS = ("greedy", "auto", "full")
seeds = st.integers(0, 10**6)


def problem(seed, count, duplicates=0):
    """Gram matrix, cross terms and norm of non-negative vectors and a user between and beside them."""
    generator = np.random.default_rng(seed)
    vectors = generator.random((count, 12)) ** 3
    vectors = np.concatenate([vectors, vectors[:duplicates]])
    user = 0.8 * generator.dirichlet(np.full(len(vectors), 0.2)) @ vectors + 0.2 * generator.random(12) ** 3
    return vectors @ vectors.T, vectors @ user, float(user @ user)


def forward_selection(gram, cross, norm2, max_members, min_gain):
    """Greedy with the solver for every candidate at every step; members without weight lose their place."""
    chosen, lowest = [], norm2
    while len(chosen) < min(max_members, len(cross)):
        steps = []
        for place in set(range(len(cross))) - set(chosen):
            members = [*chosen, place]
            G, c = gram[np.ix_(members, members)], cross[members]
            w = minimise(G, c, total_is_one=False)
            steps.append(
                (w @ G @ w - 2 * c @ w + norm2, [m for m, share in zip(members, w, strict=True) if share > 1e-6])
            )
        value, members = min(steps)
        if value >= lowest * (1 - min_gain):
            break
        chosen, lowest = members, value
    return lowest


@given(seed=seeds, count=st.integers(1, 25), duplicates=st.integers(0, 1), gain=st.sampled_from([0.0, 0.05, 0.3]))
@settings(max_examples=60, deadline=None)
def test_greedy_equals_a_solver_run_on_every_candidate(seed, count, duplicates, gain):
    gram, cross, norm2 = problem(seed, count, duplicates)
    mixture = solve_mixture(gram, cross, norm2, min_gain=gain)
    assert mixture.mmd2 == pytest.approx(forward_selection(gram, cross, norm2, 5, gain), abs=1e-8)


@given(seed=seeds, count=st.integers(0, 40), duplicates=st.integers(0, 3), method=st.sampled_from(METHODS),
       most=st.integers(1, 7))  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_weights_are_feasible_and_belong_to_the_distance(seed, count, duplicates, method, most):
    gram, cross, norm2 = problem(seed, count, min(duplicates, count))
    mixture = solve_mixture(gram, cross, norm2, method=method, max_members=most)
    members, w = list(mixture.members), np.array(mixture.weights)
    assert len(set(members)) == len(w)
    assert method == "full" or len(members) <= most
    assert (w > 0).all()
    assert list(w) == sorted(w, reverse=True)
    assert w.sum() <= 1 + 1e-9
    assert mixture.uncovered == pytest.approx(1 - w.sum(), abs=1e-9)
    value = w @ gram[np.ix_(members, members)] @ w - 2 * cross[members] @ w + norm2
    assert mixture.mmd2 == pytest.approx(max(value, 0), abs=1e-12)
    assert mixture.mmd2 <= norm2 + 1e-9


@given(seed=seeds, count=st.integers(1, 40), duplicates=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_the_full_program_is_solved_to_optimality(seed, count, duplicates):
    gram, cross, norm2 = problem(seed, count, min(duplicates, count))
    mixture = solve_mixture(gram, cross, norm2, method="full")
    w = np.zeros(len(cross))
    w[list(mixture.members)] = mixture.weights
    gradient = cross - gram @ w
    level = gradient.max(initial=0.0)  # the multiplier of sum w <= 1
    np.testing.assert_allclose(gradient[w > 1e-5], level, atol=1e-5)
    assert level * (1 - w.sum()) == pytest.approx(0, abs=1e-5)


@given(seed=seeds, count=st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_more_freedom_never_fits_worse(seed, count):
    gram, cross, norm2 = problem(seed, count)
    full = solve_mixture(gram, cross, norm2, method="full").mmd2
    for method in ("greedy", "auto"):
        assert solve_mixture(gram, cross, norm2, method=method).mmd2 >= full - 1e-8


@given(seed=seeds, shuffle=st.permutations(range(12)))
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_candidates_does_not_matter(seed, shuffle):
    gram, cross, norm2 = problem(seed, 12)
    for method in METHODS:
        one = solve_mixture(gram, cross, norm2, method=method)
        other = solve_mixture(gram[np.ix_(shuffle, shuffle)], cross[shuffle], norm2, method=method)
        assert one.mmd2 == pytest.approx(other.mmd2, abs=1e-8)
        assert {*one.members} == {shuffle[member] for member in other.members}


@pytest.mark.parametrize("method", METHODS)
def test_known_weights_are_recovered(owners, method):
    gram = gram_matrix(list(owners[1].values()))
    mixture = solve_mixture(gram, gram @ SHARES, float(SHARES @ gram @ SHARES), method=method)
    assert mixture.members == (0, 1)
    assert mixture.weights == pytest.approx((0.7, 0.3), abs=1e-3)
    assert mixture.mmd2 == pytest.approx(0, abs=1e-6)
    assert mixture.uncovered == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_what_no_learnware_covers_is_uncovered_mass(method):
    mixture = solve_mixture(np.array([[1.0]]), np.array([0.6]), 0.6**2 + 0.4**2, method=method)
    assert mixture.weights == pytest.approx((0.6,), abs=1e-6)
    assert mixture.uncovered == pytest.approx(0.4, abs=1e-6)
    assert mixture.mmd2 == pytest.approx(0.16, abs=1e-6)


def test_auto_drops_the_last_hundredths_and_weighs_again():
    gram = np.eye(4)
    mixture = solve_mixture(gram, np.array([0.6, 0.385, 0.01, 0.005]), 0.6, method="auto")
    assert mixture.members == (0, 1)
    assert len(solve_mixture(gram, np.array([0.6, 0.385, 0.01, 0.005]), 0.6, method="full").members) == 4
    assert len(solve_mixture(gram, np.full(4, 0.25), 0.3, method="auto", max_members=3).members) == 3


def test_a_far_decoy_gets_no_weight():
    gram = np.eye(3)
    mixture = solve_mixture(gram, np.array([0.5, 0.5, 1e-9]), 0.5)
    assert set(mixture.members) == {0, 1}


def test_of_equal_candidates_the_first_is_taken():
    gram = np.ones((3, 3))
    assert solve_mixture(gram, np.full(3, 0.9), 0.81).members == (0,)


@pytest.mark.parametrize("method", METHODS)
def test_no_candidates_leave_everything_uncovered(method):
    mixture = solve_mixture(np.zeros((0, 0)), np.zeros(0), 0.5, method=method)
    assert (mixture.members, mixture.mmd2, mixture.uncovered) == ((), 0.5, 1.0)


def test_no_more_members_than_asked_for(owners):
    gram = gram_matrix(list(owners[1].values()))
    even = np.full(4, 0.25)
    mixture = solve_mixture(gram, gram @ even, float(even @ gram @ even), max_members=2)
    assert len(mixture.members) == 2


def test_products_that_do_not_fit_together_are_refused():
    with pytest.raises(DimensionMismatch):
        solve_mixture(np.eye(3), np.zeros(2), 0.5)
    with pytest.raises(DimensionMismatch):
        solve_mixture(np.eye(2), np.zeros((2, 1)), 0.5)
    for gram, cross, norm2 in ((np.full((1, 1), np.nan), np.zeros(1), 0.5), (np.eye(1), np.zeros(1), np.inf)):
        with pytest.raises(NotFinite):
            solve_mixture(gram, cross, norm2)
    with pytest.raises(SpecificationError):
        solve_mixture(np.eye(1), np.ones(1), 0.5, max_members=0)


def blend(members, shares):
    points = np.concatenate([member.points for member in members])
    weights = np.concatenate([share * member.weights for member, share in zip(members, shares, strict=True)])
    return Rkme(points, weights.astype(np.float32), members[0].gamma, 50)


@pytest.mark.parametrize("method", METHODS)
def test_both_representations_find_the_members_of_a_blend(owners, island, method):
    members = list(owners[1].values())
    query = blend(members[:2], (0.7, 0.3))
    exact = mixture_of_rkmes(query, members, method=method)
    assert exact.members == (0, 1)
    assert exact.mmd2 == pytest.approx(0, abs=1e-6)
    estimated = mixture_of_sketches(sketch(query, island), [sketch(each, island) for each in members], method=method)
    assert estimated.members[:2] == (0, 1)
    assert estimated.weights[:2] == pytest.approx((0.7, 0.3), abs=0.1)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_the_exact_mixture_is_that_of_the_whole_gram_matrix(draw_rkmes, seed):
    members = list(draw_rkmes(seed, 20).values())
    query = members.pop()
    gram, cross = gram_matrix(members), np.array([inner(query, member) for member in members])
    for method in METHODS:
        one, other = (
            mixture_of_rkmes(query, members, method=method),
            solve_mixture(gram, cross, query.norm2, method=method),
        )
        assert one.members == other.members
        assert one.mmd2 == pytest.approx(other.mmd2, abs=1e-9)


def test_one_mixture_is_in_one_representation(owners, island):
    members = list(owners[1].values())
    other = Rkme(np.zeros((1, 2), np.float32), np.ones(1, np.float32), 0.5, 5)
    with pytest.raises(DimensionMismatch):
        mixture_of_rkmes(other, members)
    with pytest.raises(DimensionMismatch):
        mixture_of_rkmes(members[0], [*members, other])
    own = sketch(members[0], island)
    with pytest.raises(DimensionMismatch):
        mixture_of_sketches(own, [own, Sketch(np.zeros(2 * BLOCK, np.int8), 0.3)])


def test_without_candidates_a_mixture_covers_nothing(owners, island):
    query = owners[1]["o0"]
    assert mixture_of_rkmes(query, []).uncovered == 1.0
    assert mixture_of_sketches(sketch(query, island), []).uncovered == 1.0


def test_a_blend_of_data_under_differential_privacy_is_taken_apart(digits, island):
    """Noise of epsilon 1 on some 350 rows has a squared norm beyond that of the data: it must not pass for data."""
    X, y = digits
    parts = {low: island.transform(X[np.isin(y, (low, low + 1))]) for low in (0, 2, 4, 6)}
    noised = [
        private_sketch([rows], island, Budget(1.0, 1e-6, bytes([low] * 32))).sketch for low, rows in parts.items()
    ]
    asked = sketch(fit_rkme(np.concatenate([parts[0][:250], parts[4][:250]]), gamma=island.gamma), island)
    for method in METHODS:
        mixture = mixture_of_sketches(asked, noised, method=method)
        shares = dict(zip(mixture.members, mixture.weights, strict=True))
        assert shares.get(0, 0) + shares.get(2, 0) > 0.7
        assert sum(shares.values()) <= 1 + 1e-9
    assert {0, 2} <= set(mixture_candidates(asked, noised))


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_the_gram_matrix_of_noised_sketches_stays_semi_definite(seed):
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(6, 40))
    biases = generator.random(6) * 60 * (generator.random(6) < 0.5)
    gram = gram_of_sketches(rows, biases)
    assert np.linalg.eigvalsh(gram).min() >= -1e-9
    np.testing.assert_allclose(gram, gram.T)
    if not biases.any():
        np.testing.assert_allclose(gram, rows @ rows.T)
