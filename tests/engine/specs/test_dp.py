import numpy as np
import pytest
from atoll.engine.errors import PrivacyRefusal, SpecificationError
from atoll.engine.specs import fit_rkme, mmd2, sketch
from atoll.engine.specs.dp import analytic_sigma, private_sketch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

SECRET = bytes(range(32))


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
    first, again = (private_sketch([rows], island, epsilon=1, delta=1e-6, secret=SECRET) for _ in range(2))
    other = private_sketch([rows], island, epsilon=1, delta=1e-6, secret=bytes(32))
    np.testing.assert_array_equal(first.values, again.values)
    assert (first.values != other.values).mean() > 0.5


def test_distances_without_the_bias_stay_near_the_exact_ones(digits, island):
    X, y = digits
    low, high = island.transform(X[y < 5]), island.transform(X[y >= 5])
    exact = mmd2(fit_rkme(low), fit_rkme(high))
    private = private_sketch(np.array_split(low, 3), island, epsilon=1, delta=1e-6, secret=SECRET)
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
        private_sketch([rows[:99]], island, epsilon=1, delta=1e-6, secret=SECRET)
    with pytest.raises(SpecificationError):
        private_sketch([rows], island, epsilon=1, delta=1e-6, secret=b"short")
