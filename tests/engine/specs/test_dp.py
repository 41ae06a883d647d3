import msgspec
import numpy as np
import pytest
from atoll.engine.encoding import Array, pack
from atoll.engine.errors import NotFinite, PrivacyRefusal, SpecificationError
from atoll.engine.specs import fit_rkme, mmd2, sketch
from atoll.engine.specs.dp import Budget, analytic_sigma, private_sketch
from atoll.engine.specs.noised import DpParameters, NoisedRecord, NoisedSketch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

BUDGET = Budget(1, 1e-6, bytes(range(32)))


@given(st.floats(0.05, 8), st.floats(1e-9, 1e-3), st.floats(1e-5, 1))
def test_sigma_is_the_least_that_keeps_the_promise(epsilon, delta, sensitivity):
    sigma = analytic_sigma(epsilon, delta, sensitivity)

    def spent(s):  # Balle and Wang 2018, equation 6
        ratio = sensitivity / s
        return norm.cdf(ratio / 2 - epsilon / ratio) - np.exp(epsilon) * norm.cdf(-ratio / 2 - epsilon / ratio)

    assert spent(sigma) <= delta * (1 + 1e-6)
    assert spent(0.99 * sigma) > delta


def test_sigma_grows_with_the_sensitivity_and_the_strictness():
    assert analytic_sigma(1, 1e-6, 0.2) == pytest.approx(2 * analytic_sigma(1, 1e-6, 0.1))
    assert analytic_sigma(0.5, 1e-6, 0.1) > analytic_sigma(1, 1e-6, 0.1) > analytic_sigma(1, 1e-5, 0.1)


def test_the_same_secret_gives_the_same_sketch_and_another_one_another(digits, island):
    rows = island.transform(digits[0])
    first, again = (private_sketch([rows], island, BUDGET) for _ in range(2))
    other = private_sketch([rows], island, Budget(1, 1e-6, bytes(32)))
    np.testing.assert_array_equal(first.sketch.values, again.sketch.values)
    assert (first.sketch.values != other.sketch.values).mean() > 0.5


def test_distances_without_the_bias_stay_near_the_exact_ones(digits, island):
    X, y = digits
    low, high = island.transform(X[y < 5]), island.transform(X[y >= 5])
    exact = mmd2(fit_rkme(low), fit_rkme(high))
    private = private_sketch(np.array_split(low, 3), island, BUDGET).sketch
    plain = sketch(fit_rkme(high), island)
    estimate = float(((private.floats() - plain.floats()) ** 2).sum())
    assert private.bias == pytest.approx(512 * private.sigma**2)
    assert estimate - private.bias == pytest.approx(exact, abs=0.03)
    assert private.norm2 == pytest.approx(fit_rkme(low).norm2, abs=0.05)


@pytest.mark.parametrize(("epsilon", "delta"), [(0, 1e-6), (-1, 1e-6), (1, 0), (1, 0.5), (np.nan, 1e-6)])
def test_parameters_that_promise_nothing_are_refused(epsilon, delta):
    with pytest.raises(SpecificationError):
        analytic_sigma(epsilon, delta, 0.1)


def test_few_rows_and_short_secrets_are_refused(digits, island):
    rows = island.transform(digits[0])
    with pytest.raises(PrivacyRefusal):
        private_sketch([rows[:99]], island, BUDGET)
    with pytest.raises(SpecificationError):
        private_sketch([rows], island, Budget(1, 1e-6, b"short"))


def test_rows_that_are_not_finite_are_refused(digits, island):
    rows = island.transform(digits[0])
    rows[3, 5] = np.nan
    with pytest.raises(NotFinite):
        private_sketch([rows], island, BUDGET)


def test_a_noised_sketch_is_read_back_as_it_was(digits, island):
    made = private_sketch([island.transform(digits[0])], island, BUDGET)
    again = NoisedSketch.from_bytes(made.to_bytes())
    np.testing.assert_array_equal(again.sketch.values, made.sketch.values)
    assert (again.dp, again.count, again.sketch.sigma) == (made.dp, 1797, made.dp.sigma)
    assert again.to_bytes() == made.to_bytes()


@pytest.mark.parametrize(
    "change",
    [{"scale": 2.0}, {"norm2": 1.5}, {"count": 0}, {"values": Array.of(np.zeros(511, np.int8))},
     {"values": Array.of(np.zeros(512, np.float32))}, {"dp": DpParameters(1.0, 1e-6, 0.0)},
     {"dp": DpParameters(-1.0, 1e-6, 0.1)}],
)  # fmt: skip
def test_impossible_noised_sketches_are_refused(change):
    good = NoisedRecord(Array.of(np.zeros(512, np.int8)), 0.1, 1e-3, DpParameters(1.0, 1e-6, 0.01), 500)
    NoisedSketch.from_bytes(pack(good))
    with pytest.raises(SpecificationError):
        NoisedSketch.from_bytes(pack(msgspec.structs.replace(good, **change)))
