import contextlib

import msgpack
import numpy as np
import pytest
from atoll.engine.errors import (
    AtollError,
    DimensionMismatch,
    NotFinite,
    PrivacyRefusal,
    SpecificationError,
)  # fmt: skip
from atoll.engine.specs import Rkme, fit_rkme, inner, mmd2
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays


@st.composite
def rkmes(draw):
    m = draw(st.integers(1, 5))
    points = draw(arrays.arrays(np.float32, (m, 3), elements=st.floats(-6, 6, width=32)))
    mass = draw(arrays.arrays(np.float64, m, elements=st.floats(0.01, 1)))
    return Rkme(points, (mass / mass.sum()).astype(np.float32), 0.5, 10)


@given(rkmes(), rkmes(), rkmes())
@settings(max_examples=60, deadline=None)
def test_the_root_of_mmd2_is_a_metric(a, b, c):
    assert mmd2(a, a) == pytest.approx(0, abs=1e-9)
    assert mmd2(a, b) >= 0
    assert mmd2(a, b) == pytest.approx(mmd2(b, a), abs=1e-9)
    assert mmd2(a, c) ** 0.5 <= mmd2(a, b) ** 0.5 + mmd2(b, c) ** 0.5 + 1e-4  # weights are float32


@given(rkmes(), rkmes(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_points_and_of_features_does_not_matter(a, b, random):
    points, columns = list(range(len(a.weights))), [0, 1, 2]
    random.shuffle(points)
    random.shuffle(columns)
    shuffled = Rkme(a.points[points][:, columns], a.weights[points], a.gamma, a.count)
    same = Rkme(np.ascontiguousarray(b.points[:, columns]), b.weights, b.gamma, b.count)
    assert mmd2(shuffled, same) == pytest.approx(mmd2(a, b), abs=1e-9)


@given(arrays.arrays(np.float64, st.tuples(st.integers(5, 40), st.integers(1, 4)), elements=st.floats(-6, 6)))
@settings(max_examples=40, deadline=None)
def test_weights_lie_on_the_simplex_whatever_the_rows(rows):
    fitted = fit_rkme(rows, 6)
    assert (fitted.weights > 0).all()
    assert fitted.weights.sum() == pytest.approx(1, abs=1e-5)
    assert fitted.count == len(rows)
    assert 0 < fitted.norm2 <= 1 + 1e-6


def test_the_same_rows_and_seed_give_the_same_bytes(owners):
    rows = owners[0]["o0"]
    assert fit_rkme(rows, 10, seed=3).to_bytes() == fit_rkme(rows.copy(), 10, seed=3).to_bytes()


def test_nan_is_refused_by_column_or_imputed_on_request(owners):
    rows = owners[0]["o0"].copy()
    rows[3, 7] = np.nan
    with pytest.raises(NotFinite, match=r"columns \[7\]"):
        fit_rkme(rows, 5)
    assert np.isfinite(fit_rkme(rows, 5, impute="mean").points).all()
    with pytest.raises(NotFinite):
        fit_rkme(np.full((10, 2), 1e300), 2)


def test_five_rows_stand_behind_every_point(owners):
    rows = owners[0]["o0"]
    with pytest.raises(PrivacyRefusal):
        fit_rkme(rows[:4], 1)
    assert len(fit_rkme(rows[:5], 100).weights) == 1
    assert len(fit_rkme(rows[:52], 100).weights) <= 10


@pytest.mark.parametrize("rows", [np.zeros(10), np.zeros((10, 0)), np.zeros((2, 2, 2))])
def test_rows_must_be_a_matrix(rows):
    with pytest.raises(SpecificationError):
        fit_rkme(rows, 2)


def test_rkmes_of_other_dimension_or_kernel_are_not_compared():
    def one(d, gamma):
        return Rkme(np.zeros((1, d), np.float32), np.ones(1, np.float32), gamma, 5)

    for other in (one(3, 0.5), one(2, 0.6)):
        with pytest.raises(DimensionMismatch):
            inner(one(2, 0.5), other)


def test_the_fit_is_much_nearer_to_the_data_than_a_random_subset_of_as_many_rows(digits, island):
    rows = island.transform(digits[0])
    whole = Rkme(rows[:1000], np.full(1000, 1e-3, np.float32), island.gamma, len(rows))
    fitted = fit_rkme(rows, 50)
    for seed in range(5):
        subset = rows[np.random.default_rng(seed).choice(len(rows), 50, replace=False)]
        assert mmd2(fitted, whole) < 0.3 * mmd2(Rkme(subset, np.full(50, 0.02, np.float32), island.gamma, 50), whole)


def test_chunks_of_any_length_give_the_same_bytes_as_the_array(digits, island):
    rows = island.transform(digits[0])
    for length in (1, 97, 5000):
        cut = [rows[start : start + length] for start in range(0, len(rows), length)]
        assert fit_rkme(lambda cut=cut: iter(cut), 20).to_bytes() == fit_rkme(rows, 20).to_bytes()


def test_chunks_of_more_rows_than_are_sampled_give_the_same_bytes_too():
    rows = np.random.default_rng(0).standard_normal((20_000, 3)).astype(np.float32)
    assert fit_rkme(lambda: np.array_split(rows, 7), 30).to_bytes() == fit_rkme(rows, 30).to_bytes()


@pytest.mark.parametrize("rows", [np.full((400, 3), 2.0), np.repeat(np.eye(3), 100, axis=0), np.eye(5)[:, :2]])
def test_constant_and_repeated_rows_are_summarised(rows):
    fitted = fit_rkme(rows, 20)
    assert np.isfinite(fitted.points).all()
    assert len(fitted.weights) <= len(np.unique(rows, axis=0))


def test_a_constant_column_stays_constant(digits):
    rows = np.column_stack([np.full(300, 1.5), digits[0][:300, 10:14] / 8])
    np.testing.assert_allclose(fit_rkme(rows, 20).points[:, 0], 1.5, atol=1e-4)


def test_saved_and_loaded_it_is_the_same(tmp_path, owners):
    path = tmp_path / "a.rkme"
    owners[1]["o0"].save(path)
    assert Rkme.load(path).to_bytes() == owners[1]["o0"].to_bytes()
    assert mmd2(Rkme.load(path), owners[1]["o0"]) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"gamma": -1.0},
        {"gamma": "wide"},
        {"count": 0},
        {"weights": {"dtype": "float32", "shape": [1], "data": b"\0\0\x80\x3f"}},
        {"points": {"dtype": "float32", "shape": [0, 2**62], "data": b""}},
        {"points": {"dtype": "float32", "shape": [0, 2**64 - 1], "data": b""}},
        {"points": {"dtype": "object", "shape": [1, 1], "data": b"\0" * 8}},
    ],
)
def test_a_foreign_record_that_does_not_hold_together_is_refused(owners, change):
    tree = msgpack.unpackb(owners[1]["o0"].to_bytes())
    with pytest.raises(SpecificationError):
        Rkme.from_bytes(msgpack.packb({**tree, **change}))


def test_damaged_bytes_give_an_error_of_the_tree_or_a_valid_rkme(owners):
    good = owners[1]["o0"].to_bytes()
    random = np.random.default_rng(0)
    for _ in range(1000):
        bad = bytearray(good)
        for place in random.integers(0, len(bad), 4):
            bad[place] = random.integers(256)
        with contextlib.suppress(AtollError):
            assert Rkme.from_bytes(bytes(bad[: random.integers(1, len(bad) + 1)])).norm2 > 0
