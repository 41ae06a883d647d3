import numpy as np
import pytest
from atoll.engine.errors import DimensionMismatch
from atoll.engine.islands import Feature, Island
from atoll.engine.matching import ERROR_BAND
from atoll.engine.specs import Rkme, mmd2, sketch
from atoll.engine.specs.sketch import features, frequencies
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays


def test_distances_of_sketches_stay_in_the_error_band(owners, island):
    rkmes = list(owners[1].values())
    for a in rkmes:
        for b in rkmes:
            estimate = ((sketch(a, island).floats() - sketch(b, island).floats()) ** 2).sum()
            assert abs(estimate - mmd2(a, b)) < ERROR_BAND


def test_sketches_are_int8_and_use_the_range_without_wrapping(owners, island):
    made = sketch(owners[1]["o0"], island, blocks=2)
    assert made.values.dtype == np.int8
    assert made.values.shape == (1024,)
    assert np.abs(made.values.astype(int)).max() <= 127
    assert made.norm2 == owners[1]["o0"].norm2


def test_features_of_a_row_have_unit_length(owners, island):
    np.testing.assert_allclose((features(owners[0]["o0"][:5], island) ** 2).sum(1), 1.0)


def test_an_rkme_of_another_island_has_no_sketch_here(owners):
    with pytest.raises(DimensionMismatch):
        sketch(owners[1]["o0"], Island("table", 1, 1.0, (Feature("a"),)))


def test_frequencies_are_orthogonal_and_cannot_be_changed(island):
    W = frequencies(island.digest, island.dimension, island.gamma, 0)
    gram = W[:64] @ W[:64].T
    np.testing.assert_allclose(gram - np.diag(np.diag(gram)), 0, atol=1e-9)
    with pytest.raises(ValueError, match="read-only"):
        W[0, 0] = 1


VECTOR_ISLAND = Island("table", 3, 0.5, (Feature("a"), Feature("b"), Feature("c", scale=2.0)))
VECTOR_ID = "085cb72136cd164d3963e146f432144091e5a20bb556bf853d3c33d38e41b1ef"
VECTORS = [  # first and last frequency of block 0, first of block 1: other implementations must derive the same
    [-0.078042425, 0.118619082, -1.330637065],
    [-1.168740897, -0.643885241, 0.602536968],
    [0.899354118, -0.122668683, 1.037348538],
]


def test_the_basis_is_derived_from_the_island_id_as_published():
    assert VECTOR_ISLAND.id == VECTOR_ID
    zero, one = (frequencies(VECTOR_ISLAND.digest, 3, 0.5, block) for block in (0, 1))
    np.testing.assert_allclose([zero[0], zero[255], one[0]], VECTORS, atol=1e-6)


VECTOR_RKME = Rkme(
    np.array([[0.0, 0.5, -1.0], [1.0, -0.25, 2.0]], np.float32), np.array([0.75, 0.25], np.float32), 0.5, 10
)
SKETCH_VALUES = [-12, 76, 88, 82, -40, -70]  # at places 0, 1, 255, 256, 257, 511
SKETCH_TOTAL = 31357  # of the absolute values


def test_the_sketch_of_a_fixed_rkme_is_as_published():
    made = sketch(VECTOR_RKME, VECTOR_ISLAND).values
    assert made[[0, 1, 255, 256, 257, 511]].tolist() == SKETCH_VALUES
    assert int(np.abs(made.astype(int)).sum()) == SKETCH_TOTAL


@st.composite
def rkmes(draw):
    m = draw(st.integers(1, 8))
    points = draw(arrays.arrays(np.float32, (m, 3), elements=st.floats(-3, 3, width=32)))
    mass = draw(arrays.arrays(np.float64, m, elements=st.floats(0.01, 1)))
    return Rkme(points, (mass / mass.sum()).astype(np.float32), 0.5, 10)


@given(rkmes(), rkmes())
@settings(max_examples=60, deadline=None)
def test_the_error_of_any_two_sketches_stays_in_the_band(a, b):
    estimate = ((sketch(a, VECTOR_ISLAND).floats() - sketch(b, VECTOR_ISLAND).floats()) ** 2).sum()
    long = ((sketch(a, VECTOR_ISLAND, 8).floats() - sketch(b, VECTOR_ISLAND, 8).floats()) ** 2).sum()
    assert abs(estimate - mmd2(a, b)) < 2 * ERROR_BAND  # single points far apart: the worst there is
    assert abs(long - mmd2(a, b)) < ERROR_BAND
