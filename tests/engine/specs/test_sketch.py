import numpy as np
import pytest
from atoll.engine.errors import DimensionMismatch
from atoll.engine.islands import Feature, Island
from atoll.engine.matching import ERROR_BAND
from atoll.engine.specs import mmd2, sketch
from atoll.engine.specs.sketch import features, frequencies


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
